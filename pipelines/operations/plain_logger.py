"""The logger `plain`: prints the log lines of a run to the terminal, without Dagster's own events."""

import logging
import sys
from typing import Final

from dagster import InitLoggerContext, logger
from dagster._core.execution.plan.objects import ErrorSource
from typing_extensions import override

from storage.printable import display_lines

LEVELS: Final = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


class _PlainFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {})
        message = display_lines(meta.get("orig_message") or record.getMessage())
        step = meta.get("step_key")
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname}: "
        return f"  {prefix}{step}: {message}" if step else f"  {prefix}{message}"


class _NoEvents(logging.Filter):
    """Drops events of Dagster itself, except errors; a cancel is none."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        event = getattr(record, "dagster_event", None)
        if event is None:
            return True
        is_cancel = event.is_step_failure and event.step_failure_data.error_source is ErrorSource.INTERRUPT
        return record.levelno >= logging.ERROR and not is_cancel


@logger(config_schema={"log_level": str}, description="Plain lines on the terminal")
def plain_console(context: InitLoggerContext) -> logging.Logger:
    """Prints log lines to standard output."""
    level = context.logger_config["log_level"]
    if level not in LEVELS:
        raise ValueError(f"log_level is {level!r}, need one of {', '.join(sorted(LEVELS))}")
    plain = logging.getLogger("pdfgc.console")
    plain.setLevel(level)
    plain.propagate = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_PlainFormatter())
    handler.addFilter(_NoEvents())
    plain.handlers = [handler]
    return plain
