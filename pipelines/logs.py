"""Where log records of the packages go, unless Dagster captures them (`managed_python_loggers`)."""

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from typing_extensions import override

from storage.printable import display_lines

PACKAGES: Final = (
    "pipelines",
    "evaluation",
    "training",
    "preprocessing",
    "demo_corpus",
    "models",
    "weights",
    "storage",
)


class _TerminalFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname}: "
        return f"{prefix}{display_lines(record.getMessage())}"


@contextmanager
def log_to(handlers: Sequence[logging.Handler]) -> Generator[None]:
    """Send the records of all packages, INFO and above, to handlers."""
    loggers = [logging.getLogger(name) for name in PACKAGES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        for handler in handlers:
            logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
            for handler in handlers:
                logger.removeHandler(handler)


@contextmanager
def log_to_terminal() -> Generator[None]:
    """Print the records of all packages to standard error.

    For commands that run no Dagster job: the logger `plain` of a job prints the records itself.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_TerminalFormatter())
    with log_to([handler]):
        yield
