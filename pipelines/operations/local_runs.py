"""Jobs run in the current process, on the same instance as the UI, which shows these runs too."""

from collections.abc import Mapping
from typing import Any, Final

from dagster import (
    AssetCheckSeverity,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
)

from pipelines.operations.dead_runs import clear_dead_runs, process_tags
from pipelines.operations.instance import limit_gpu_pool
from pipelines.operations.step_errors import step_error

INTERRUPTS: Final = ("KeyboardInterrupt", "DagsterExecutionInterruptedError")


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
        KeyboardInterrupt: Ctrl-C; the run is marked as failed.
    """
    if definitions is None:
        from pipelines.definitions import definitions
    limit_gpu_pool(instance)
    clear_dead_runs(instance)
    loggers = {"plain": {"config": {"log_level": "INFO"}}} if definitions.loggers else {}
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
    if _is_interrupted(result):
        raise KeyboardInterrupt
    if not result.success:
        raise JobFailedError(f"run {result.run_id} of {name} failed. {failure_reason(result)}")


def _is_interrupted(result: ExecuteInProcessResult) -> bool:
    """Whether Ctrl-C ended the run; Dagster turns it into the failure of the step."""
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return any(error is not None and error.cls_name in INTERRUPTS for error in errors)


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
