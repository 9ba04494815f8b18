"""The error to report of a failed step."""

from typing import Final

from dagster import DagsterEvent

WRAPPERS: Final = ("Dagster", "RetryRequested")
"""Prefixes of Dagster's errors that wrap the error of a step."""


def step_error(failure: DagsterEvent) -> str | None:
    """The description of a `Failure`, else the outermost error that is not Dagster's; None if there is none.

    Its causes are left out: errors of libraries name neither the file nor the fix, and the cause of an error
    in a worker process is a whole traceback.
    """
    user_failure = failure.step_failure_data.user_failure_data
    if user_failure is not None and user_failure.description:
        return user_failure.description
    error = failure.step_failure_data.error
    while error is not None and error.cause is not None and (error.cls_name or "").startswith(WRAPPERS):
        error = error.cause
    return None if error is None else error.message.strip()
