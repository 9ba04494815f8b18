"""The terminal: messages of native libraries that say nothing are kept off it."""

import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread
from typing import Final

# What MediaPipe's native code prints whenever a graph starts; it has no switch of its own that works.
CHATTER: Final = re.compile(
    rb"INFO: Created TensorFlow Lite|WARNING: All log messages before absl::InitializeLog"
    rb"|[WI]\d{4} .*(inference_feedback_manager|landmark_projection_calculator|gl_context|face_landmarker)"
)


@contextmanager
def without_chatter() -> Generator[None, None, None]:
    """Keep the known chatter of native libraries off the terminal, from this process and its workers.

    Everything else passes, also the last words of a worker that crashes: the filter runs here.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    source, sink = os.pipe()
    os.dup2(sink, 2)
    os.close(sink)
    filtering = Thread(target=_pass_on, args=(source, terminal), daemon=True)
    filtering.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)  # the pipe ends with the last worker that writes to it
        filtering.join(timeout=5.0)


def _pass_on(source: int, terminal: int) -> None:
    with os.fdopen(source, "rb") as lines:
        for line in lines:
            if not CHATTER.match(line):
                os.write(terminal, line)
