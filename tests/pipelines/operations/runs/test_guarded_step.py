"""What steps run in: wrong settings are refused first, errors are one sentence, a cancel has no traceback."""

import os
import signal
import time

import pytest
from dagster import (
    AssetExecutionContext,
    AssetSelection,
    DagsterEvent,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    ExecuteInProcessResult,
    asset,
    define_asset_job,
    in_process_executor,
)

from pipelines.operations.runs.failed_runs import failure_line
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.operations.runs.local_runs import JobFailedError, run_job
from pipelines.resources import RESOURCES

calls: list[str] = []


@asset
def first(context: AssetExecutionContext) -> None:
    with guarded_step(context):
        calls.append("first")


@asset
def unreadable(context: AssetExecutionContext) -> None:
    with guarded_step(context):
        raise ValueError("clip.mp4 is cut short: copy it again")


@asset
def canceled(context: AssetExecutionContext) -> None:
    with guarded_step(context):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)


@asset(deps=[canceled])
def after() -> None:
    calls.append("after")


definitions = Definitions(
    assets=[first, unreadable, canceled, after],
    jobs=[
        define_asset_job("whole", selection=AssetSelection.assets(first)),
        define_asset_job("read", selection=AssetSelection.assets(unreadable)),
        define_asset_job("cancel", selection=AssetSelection.assets(canceled, after)),
    ],
    resources={name: resource() for name, resource in RESOURCES.items()},
    executor=in_process_executor,
)


def failure_of(instance: DagsterInstance, run_id: str) -> DagsterEvent:
    events = [entry.dagster_event for entry in instance.all_logs(run_id)]
    return next(event for event in events if event is not None and event.is_step_failure)


def fail(instance: DagsterInstance, job: str, resources: dict[str, object]) -> ExecuteInProcessResult:
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance, run_config={"resources": resources}, raise_on_error=False
    )


@pytest.mark.parametrize(
    ("resource", "config", "sentence"),
    [
        ("training_config", {"steps": -5}, "steps must be >= 0, got -5"),
        (
            "sources",
            {"batches": {"videos_per_batch": -3}},
            "batches.videos_per_batch must be >= 1, got -3",
        ),
        ("workspace", {"workers": -1}, "workers must be >= 0, got -1"),
    ],
)
def test_wrong_setting_is_refused_before_anything_runs(
    resource: str, config: dict[str, object], sentence: str
) -> None:
    calls.clear()
    with DagsterInstance.ephemeral() as instance:
        result = fail(instance, "whole", {resource: {"config": config}})
        failure = failure_of(instance, result.run_id)
        assert not [event for event in result.all_events if event.is_step_restarted]
    assert calls == []
    assert failure_line("whole", "", [failure]) == f"whole: first: {sentence}"


def test_error_is_one_sentence() -> None:
    sentence = r"unreadable: clip\.mp4 is cut short: copy it again$"
    with DagsterInstance.ephemeral() as instance, pytest.raises(JobFailedError, match=sentence):
        run_job("read", instance, definitions=definitions)


def test_cancel_has_no_traceback_and_ends_the_run() -> None:
    calls.clear()
    with DagsterInstance.ephemeral() as instance:
        with pytest.raises(KeyboardInterrupt, match=r"^stopped; launch the same again to go on$"):
            run_job("cancel", instance, definitions=definitions)
        (run,) = instance.get_runs()
        error = failure_of(instance, run.run_id).step_failure_data.error
    assert run.status is DagsterRunStatus.CANCELED
    assert calls == []
    assert error is not None
    assert (error.message, error.stack, error.cause) == ("stopped; launch the same again to go on", [], None)
