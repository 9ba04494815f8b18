"""The logger `plain`: prints the log lines of a run to the terminal, without Dagster's own events."""

import logging
import sys
from typing import Final

from dagster import DagsterEvent, DagsterEventType, InitLoggerContext, logger
from dagster._core.execution.plan.objects import ErrorSource
from typing_extensions import override

from storage.printable import display_lines

LEVELS: Final = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


class _PlainFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", {})
        message = display_lines(meta.get("orig_message") or record.getMessage())
        if (pool := blocked_pool(getattr(record, "dagster_event", None))) is not None:
            message = f"waits for another run: the pool {pool} is full (its limit: Deployment > Concurrency)"
        step = meta.get("step_key")
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname}: "
        return f"  {prefix}{step}: {message}" if step else f"  {prefix}{message}"


def blocked_pool(event: DagsterEvent | None) -> str | None:
    """The pool that a step waits for, of the event by which Dagster says so first; else None."""
    if event is None or event.event_type != DagsterEventType.ENGINE_EVENT:
        return None
    if "still" in (event.message or ""):  # a few times an hour
        return None
    pool = event.engine_event_data.metadata.get("pool")
    return None if pool is None else str(pool.value)


class _NoEvents(logging.Filter):
    """Drops events of Dagster itself, except errors and that a step waits; a cancel is no error."""

    def __init__(self, level: str) -> None:
        super().__init__()
        self._level = logging.getLevelNamesMapping()[level]

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        event = getattr(record, "dagster_event", None)
        if event is None:
            return record.levelno >= self._level
        if blocked_pool(event) is not None:
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
    plain.setLevel(logging.DEBUG)  # of which are Dagster's own events
    plain.propagate = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_PlainFormatter())
    handler.addFilter(_NoEvents(level))
    plain.handlers = [handler]
    return plain
