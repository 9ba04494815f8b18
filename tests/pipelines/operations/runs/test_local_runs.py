"""Jobs run in the current process."""

import logging
import os
import signal
import time
from pathlib import Path
from threading import Timer

import pytest
from dagster import AssetSelection, DagsterInstance, Definitions, asset, define_asset_job, in_process_executor

from pipelines.operations.instance import GPU_POOL, limit_gpu_pool
from pipelines.operations.plain_logger import plain_console
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


@asset(pool=GPU_POOL)
def trained() -> None:
    logging.getLogger("training").info("training")


def test_a_run_says_that_it_waits_for_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = Definitions(
        assets=[trained],
        jobs=[define_asset_job("train", selection=AssetSelection.assets(trained))],
        executor=in_process_executor,
        loggers={"plain": plain_console},
    )
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        limit_gpu_pool(instance)
        storage = instance.event_log_storage
        assert storage.claim_concurrency_slot(GPU_POOL, "another", "trained").is_claimed
        end_of_another = Timer(1.0, storage.free_concurrency_slots_for_run, ["another"])
        end_of_another.start()
        run_job("train", instance, definitions=waiting)
        end_of_another.join()
    assert "trained: waits for another run: the pool gpu is full" in capsys.readouterr().out


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
