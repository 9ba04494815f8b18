"""What a run says on the terminal: the steps' own lines, without Dagster's records and native chatter."""

import logging
import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread
from typing import Final

from dagster import InitLoggerContext, logger
from typing_extensions import override

# What MediaPipe's native code prints whenever a graph starts; it has no switch of its own that works.
CHATTER: Final = re.compile(
    rb"INFO: Created TensorFlow Lite|WARNING: All log messages before absl::InitializeLog"
    rb"|[WI]\d{4} .*(inference_feedback_manager|landmark_projection_calculator|gl_context|face_landmarker)"
)
LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


class _Plain(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {})
        message = str(meta.get("orig_message") or record.getMessage())
        step = meta.get("step_key")
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname}: "
        return f"  {prefix}{step}: {message}" if step else f"  {prefix}{message}"


class _OwnLines(logging.Filter):
    """Dagster's own events come at DEBUG, or carry an event; failures do matter."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        is_event = getattr(record, "dagster_event", None) is not None
        return not is_event or record.levelno >= logging.ERROR


@logger(config_schema={"log_level": str}, description="Plain lines on the terminal")
def plain_console(context: InitLoggerContext) -> logging.Logger:
    """A logger that prints the steps' own lines to standard output."""
    level = context.logger_config["log_level"]
    if level not in LEVELS:
        raise ValueError(f"log_level is {level!r}, need one of {', '.join(sorted(LEVELS))}")
    plain = logging.getLogger("pdfgc.console")
    plain.setLevel(level)
    plain.propagate = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Plain())
    handler.addFilter(_OwnLines())
    plain.handlers = [handler]
    return plain


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
