"""The reported error of a failed step."""

from collections.abc import Callable

from dagster import (
    RetryRequested,
    asset,
    materialize,
)

from pipelines.operations.runs.step_errors import step_error
from preprocessing.process_pool import map_in_processes


def reported(fail: Callable[[], None]) -> str | None:
    """The reported error of an asset whose function is `fail`."""

    @asset
    def failing() -> None:
        fail()

    result = materialize([failing], raise_on_error=False)
    return step_error(next(event for event in result.all_events if event.is_step_failure))


def test_step_error_is_the_outermost_not_the_librarys() -> None:
    def fail() -> None:
        try:
            raise EOFError("Ran out of input")
        except EOFError as error:
            raise ValueError("epoch_20.pth is cut short") from error

    assert reported(fail) == "ValueError: epoch_20.pth is cut short"


def refuse(item: int) -> int:
    raise ValueError(f"det_10g.onnx is cut short, item {item}")


def test_step_error_of_a_worker_has_no_traceback() -> None:
    def fail() -> None:
        list(map_in_processes(refuse, [3], workers=1))

    assert reported(fail) == "ValueError: det_10g.onnx is cut short, item 3"


def test_step_error_of_a_retried_step_is_its_reason() -> None:
    def fail() -> None:
        try:
            raise ConnectionResetError("the bucket closed the connection")
        except ConnectionResetError as error:
            raise RetryRequested(max_retries=0) from error

    assert reported(fail) == "ConnectionResetError: the bucket closed the connection"
