"""Jobs run in the current process."""

import os
import signal
import time

import pytest
from dagster import AssetSelection, DagsterInstance, Definitions, asset, define_asset_job, in_process_executor

from pipelines.operations.runs.local_runs import JobFailedError, run_job


@asset
def failing() -> None:
    raise ValueError("clip.mp4 is cut short")


@asset
def interrupted() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)


definitions = Definitions(
    assets=[failing, interrupted],
    jobs=[
        define_asset_job("fail", selection=AssetSelection.assets(failing)),
        define_asset_job("wait", selection=AssetSelection.assets(interrupted)),
    ],
    executor=in_process_executor,
)


def test_failed_job_names_the_run_the_step_and_the_error() -> None:
    with DagsterInstance.ephemeral() as instance:
        with pytest.raises(JobFailedError) as caught:
            run_job("fail", instance, definitions=definitions)
        (run,) = instance.get_runs()
    assert str(caught.value) == f"run {run.run_id} of fail failed. failing: ValueError: clip.mp4 is cut short"


def test_interrupted_job_raises_keyboard_interrupt() -> None:
    with DagsterInstance.ephemeral() as instance:
        with pytest.raises(KeyboardInterrupt):
            run_job("wait", instance, definitions=definitions)
        (run,) = instance.get_runs()
    assert run.is_finished
