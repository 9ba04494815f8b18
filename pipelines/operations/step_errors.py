"""The one error of a failed step that a person should read."""

from typing import Final

from dagster import DagsterEvent

DAGSTERS_OWN: Final = ("Dagster", "RetryRequested")
"""How the names of Dagster's errors begin; they wrap what a step raised and say no more than that it did."""


def step_error(failure: DagsterEvent) -> str | None:
    """What a failed step itself raised: the outermost error that is not Dagster's; None where none is told.

    What that was caused by it tells itself, in better words: a library's error below knows neither the file's
    name nor the way out. Of an error in a pool's process the cause is a whole traceback.
    """
    error = failure.step_failure_data.error
    while error is not None and error.cause is not None and (error.cls_name or "").startswith(DAGSTERS_OWN):
        error = error.cause
    return None if error is None else error.message.strip()
