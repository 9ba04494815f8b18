"""What the body of every step runs in: wrong settings, errors and a cancel end in one sentence."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from dagster import (
    AssetExecutionContext,
    DagsterExecutionInterruptedError,
    DagsterRunStatus,
    Failure,
    OpExecutionContext,
)
from dagster._core.errors import DagsterUserCodeProcessError
from dagster_shared.error import SerializableErrorInfo

from pipelines.operations.runs.retries import retry_transient_errors
from pipelines.resources import RESOURCES
from storage.printable import display_text
from storage.settings import SettingsError
from training.launch.process_group import CommandFailedError

Context = AssetExecutionContext | OpExecutionContext

STOPPED = "stopped; launch the same again to go on"


class StepStoppedError(DagsterExecutionInterruptedError, DagsterUserCodeProcessError):
    """A step was canceled. Dagster shows its message alone: a cancel has no traceback."""

    def __init__(self, message: str) -> None:
        info = SerializableErrorInfo(message=message, stack=[], cls_name=type(self).__name__)
        super().__init__(message, user_code_process_error_infos=[info])


@contextmanager
def guarded_step(context: Context) -> Generator[None]:
    """Check all settings of the run, then run the block; it is retried after a transient error.

    Raises:
        Failure: a setting is out of its bounds (before the block runs), or the block failed for a reason that
            the user can mend; its description is the sentence to show. Dagster does not retry it.
        RetryRequested: as `retry_transient_errors`.
        StepStoppedError: the run was canceled, in the UI or by Ctrl-C.
    """
    try:
        check_settings(context.run.run_config)
        with retry_transient_errors(context):
            yield
    except SettingsError as error:
        raise Failure(display_text(error), allow_retries=False) from None
    except (ValueError, OSError, CommandFailedError) as error:
        raise Failure(display_text(str(error) or type(error).__name__), allow_retries=False) from error
    except (KeyboardInterrupt, DagsterExecutionInterruptedError) as error:
        _report_canceling(context)
        raise StepStoppedError(str(error) or STOPPED) from None


def check_settings(run_config: Mapping[str, Any]) -> None:
    """Check every section of settings of a run, also those that its first step does not read.

    Raises:
        SettingsError: a value is out of its bounds, such as ``steps must be >= 0, got -5``.
    """
    for name, section in (run_config.get("resources") or {}).items():
        if name in RESOURCES and isinstance(config := section.get("config"), Mapping):
            RESOURCES[name](**config).to_settings()


def _report_canceling(context: Context) -> None:
    """After Ctrl-C nobody has asked Dagster to cancel, and it would mark the run as failed."""
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is not None and run.status is DagsterRunStatus.STARTED:
        context.instance.report_run_canceling(run)
