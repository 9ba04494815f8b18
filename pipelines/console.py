"""What commands set up first: threads, and a terminal without the messages of native libraries."""

import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread
from typing import Final

# MediaPipe's native code prints these whenever a graph starts; its log level has no effect on them.
CHATTER: Final = re.compile(
    rb"INFO: Created TensorFlow Lite|WARNING: All log messages before absl::InitializeLog"
    rb"|[WI]\d{4} .*(inference_feedback_manager|landmark_projection_calculator|gl_context|face_landmarker)"
)


def use_one_thread() -> None:
    """Set the numeric libraries to one thread per process, unless the environment says otherwise.

    Call it before they are loaded. The worker processes are the parallelism; more threads would only compete
    for the cores in busy loops.
    """
    from preprocessing.process_pool import ONE_THREAD

    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)


@contextmanager
def without_chatter() -> Generator[None, None, None]:
    """Drop the known messages of native libraries from standard error, of this process and its workers.

    Everything else passes, also the last message of a worker that crashes, because this process filters.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    source, sink = os.pipe()
    os.dup2(sink, 2)
    os.close(sink)
    filtering = Thread(target=_forward, args=(source, terminal), daemon=True)
    filtering.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)  # the pipe ends with the last worker that writes to it
        filtering.join(timeout=5.0)


def _forward(source: int, terminal: int) -> None:
    with os.fdopen(source, "rb") as lines:
        for line in lines:
            if not CHATTER.match(line):
                os.write(terminal, line)
