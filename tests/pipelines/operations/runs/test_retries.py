"""What is tried again, and what is not."""

import errno
from collections.abc import Callable

import pytest
from dagster import AssetExecutionContext, ExecuteInProcessResult, asset, materialize

from pipelines.operations.runs.retries import is_transient, retry_transient_errors
from pipelines.operations.settings import OperationsSettings

SETTINGS = OperationsSettings(retries=2, retry_seconds=0.0)


def run(fail: Callable[[int], None]) -> tuple[ExecuteInProcessResult, list[int]]:
    """Materialise an asset that fails as `fail` says; its tries by number."""
    tries: list[int] = []

    @asset
    def shaky(context: AssetExecutionContext) -> None:
        with retry_transient_errors(context, SETTINGS):
            tries.append(context.retry_number)
            fail(context.retry_number)

    return materialize([shaky], raise_on_error=False), tries


def test_lost_connection_is_retried() -> None:
    def fail(number: int) -> None:
        if number < 2:
            raise ConnectionResetError("the bucket hung up")

    result, tries = run(fail)
    assert result.success
    assert tries == [0, 1, 2]


def test_last_retry_raises_its_own_error() -> None:
    def fail(number: int) -> None:
        raise TimeoutError(f"no answer to try {number}")

    result, tries = run(fail)
    assert not result.success
    assert tries == [0, 1, 2]
    innermost = next(event.step_failure_data.error for event in result.all_events if event.is_step_failure)
    while innermost is not None and innermost.cause is not None:
        innermost = innermost.cause
    assert innermost is not None
    assert "no answer to try 2" in innermost.message


@pytest.mark.parametrize(
    "error", [FileNotFoundError("gone.mp4"), ValueError("wrong"), OSError(errno.ENOSPC, "disk full")]
)
def test_other_errors_are_not_retried(error: Exception) -> None:
    def fail(_: int) -> None:
        raise error

    result, tries = run(fail)
    assert not result.success
    assert tries == [0]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENETUNREACH, errno.EBUSY])
def test_errors_of_a_network_file_system_are_transient(number: int) -> None:
    assert is_transient(OSError(number, "away"))


def test_only_missing_responses_of_a_bucket_are_transient() -> None:
    from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError

    assert is_transient(GenericError("error sending request"))
    assert not is_transient(PermissionDeniedError("403"))
    assert not is_transient(UnauthenticatedError("401"))
