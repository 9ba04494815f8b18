"""Retries of a step after transient errors, such as a lost connection or a busy disk.

Dagster's retry policies retry after every error, also after a missing file or a wrong setting.
"""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from dagster import AssetExecutionContext, OpExecutionContext, RetryRequested

from pipelines.deployed_settings import deployed
from pipelines.operations.settings import OperationsSettings
from storage.printable import display_text

TRANSIENT_ERRORS: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EIO,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENOLCK,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
"""Raised by a network file system that is unavailable. A full disk or a missing file is not transient."""


@contextmanager
def retry_transient_errors(
    context: AssetExecutionContext | OpExecutionContext, settings: OperationsSettings | None = None
) -> Generator[None]:
    """Have Dagster retry the step later if the block fails with a transient error.

    Args:
        context: of the step.
        settings: number of retries and the delay; default: the deployment's.

    Raises:
        RetryRequested: the error is transient and fewer than `settings.retries` retries were made.
    """
    settings = settings or deployed(OperationsSettings)
    try:
        yield
    except (OSError, *_bucket_errors()) as error:
        retries = context.retry_number
        if not is_transient(error) or retries >= settings.retries:
            raise
        delay_seconds = settings.retry_seconds * 2**retries
        context.log.warning(
            "%s: %s: transient error, retry %d/%d in %g s",
            type(error).__name__,
            display_text(str(error).strip().partition("\n")[0]),
            retries + 1,
            settings.retries,
            delay_seconds,
        )
        raise RetryRequested(max_retries=settings.retries, seconds_to_wait=delay_seconds) from error


def is_transient(error: BaseException) -> bool:
    """Whether an error of the network or of a busy disk may not occur again."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    if isinstance(error, OSError):
        return error.errno in TRANSIENT_ERRORS
    # obstore raises GenericError for no response, a broken one or a busy server.
    return type(error).__name__ == "GenericError"


def _bucket_errors() -> tuple[type[Exception], ...]:
    from obstore.exceptions import BaseError

    return (BaseError,)
