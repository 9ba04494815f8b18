"""Jobs run in the current process, on the same instance as the UI, which shows these runs too."""

import signal
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any, Final

from dagster import (
    AssetCheckSeverity,
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    ExecuteInProcessResult,
)

from pipelines.operations.instance import limit_gpu_pool
from pipelines.operations.runs.dead_runs import clear_dead_runs, process_tags
from pipelines.operations.runs.guarded_step import STOPPED
from pipelines.operations.runs.step_errors import step_error

INTERRUPTS: Final = ("StepStoppedError", "KeyboardInterrupt", "DagsterExecutionInterruptedError")


class JobFailedError(RuntimeError):
    """A job failed; the message names the run, the step and the error."""


def run_job(
    name: str,
    instance: DagsterInstance,
    resources: Mapping[str, Any] | None = None,
    ops: Mapping[str, Any] | None = None,
    *,
    partition_key: str | None = None,
    definitions: Definitions | None = None,
) -> None:
    """Run a job to its end.

    Args:
        name: of the job.
        instance: that stores the run; runs of processes that were killed are marked as failed first.
        resources: configuration of resources by name, as in the launchpad.
        ops: configuration of ops and assets by name.
        partition_key: of a partitioned job.
        definitions: that hold the job; default: those of `pipelines.definitions`.

    Raises:
        JobFailedError: a step failed or a blocking check did not pass.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the run is marked as canceled. Its message is for the user.
    """
    if definitions is None:
        from pipelines.definitions import definitions
    limit_gpu_pool(instance)
    clear_dead_runs(instance)
    loggers = {"plain": {"config": {"log_level": "INFO"}}} if definitions.loggers else {}
    with sigterm_as_ctrl_c():
        result = definitions.resolve_job_def(name).execute_in_process(
            instance=instance,
            partition_key=partition_key,
            run_config={
                "resources": dict(resources or {}),
                "ops": dict(ops or {}),
                "loggers": loggers,
            },
            tags=process_tags(),
            raise_on_error=False,
        )
    if (message := _interruption(result)) is not None:
        run = instance.get_run_by_id(result.run_id)
        if run is not None and run.status is not DagsterRunStatus.CANCELED:
            instance.report_run_canceled(run)
        raise KeyboardInterrupt(message)
    if not result.success:
        raise JobFailedError(f"run {result.run_id} of {name} failed. {failure_reason(result)}")


@contextmanager
def sigterm_as_ctrl_c() -> Generator[None]:
    """Within, SIGTERM does what Ctrl-C does, where this is the main thread."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interruption(result: ExecuteInProcessResult) -> str | None:
    """What to tell the user where Ctrl-C ended the run, else None; Dagster makes it a failure of the step."""
    for event in result.all_events:
        if event.is_step_failure and (error := event.step_failure_data.error) is not None:
            if error.cls_name == INTERRUPTS[0]:
                return error.message
            if error.cls_name in INTERRUPTS:
                return STOPPED
    return None


def failure_reason(result: ExecuteInProcessResult) -> str:
    """The first failed step with the error that it raised, or the first blocking check that did not pass."""
    for event in result.all_events:
        if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if check.blocking and not check.passed and check.severity == AssetCheckSeverity.ERROR:
                return f"{event.step_key}: {check.check_name}: {check.description}"
        if event.is_step_failure and (error := step_error(event)) is not None:
            return f"{event.step_key}: {error}"
    return "The run's page in the UI (`pdfgc dev`) shows its log."
