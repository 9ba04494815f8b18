"""Steps try again after what can pass, a lost connection or a busy disk, and after nothing else.

Dagster's retry policies try again after every error; a missing file or a wrong setting would fail just so
three times more.
"""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from dagster import AssetExecutionContext, OpExecutionContext, RetryRequested

from pipelines.deployed_settings import deployed
from pipelines.operations.settings import OperationsSettings

PASSING: Final = frozenset(
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
"""What a network file system says while it is away. A full disk or a missing file does not mend itself."""


@contextmanager
def tried_again(
    context: AssetExecutionContext | OpExecutionContext, settings: OperationsSettings | None = None
) -> Generator[None]:
    """Have Dagster run the step again, later, where the block fails by something that can pass.

    Args:
        context: of the step.
        settings: how often and how late; the deployment's by default.

    Raises:
        RetryRequested: it can pass, and was not tried `settings.retries` times yet.
    """
    settings = settings or deployed(OperationsSettings)
    try:
        yield
    except (OSError, *_bucket_errors()) as error:
        done = context.retry_number
        if not can_pass(error) or done >= settings.retries:
            raise
        wait_seconds = settings.retry_seconds * 2**done
        context.log.warning(
            "%s: %s. That can pass: try %d of %d follows in %g s",
            type(error).__name__,
            str(error).strip().partition("\n")[0],
            done + 1,
            settings.retries,
            wait_seconds,
        )
        raise RetryRequested(max_retries=settings.retries, seconds_to_wait=wait_seconds) from error


def can_pass(error: BaseException) -> bool:
    """Whether waiting may mend an error: of the network or of a busy disk, not of what was asked for."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    if isinstance(error, OSError):
        return error.errno in PASSING
    # obstore's own name for what is neither missing nor forbidden: no answer, a broken one, a busy server.
    return type(error).__name__ == "GenericError"


def _bucket_errors() -> tuple[type[Exception], ...]:
    from obstore.exceptions import BaseError

    return (BaseError,)
