"""What a run says on the terminal: the steps' own lines, without Dagster's event records."""

import logging
import sys

from dagster import InitLoggerContext, logger
from typing_extensions import override

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
