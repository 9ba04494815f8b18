"""An asset that trains with the FAKE worker, for tests of starting and cancelling. FAKE_WORK says where.

``python -m tests.factories.training.fake_training`` runs it as `pdfgc train` runs a stage.
"""

import os
from pathlib import Path

from dagster import (
    AssetExecutionContext,
    AssetSelection,
    DagsterInstance,
    Definitions,
    asset,
    define_asset_job,
    in_process_executor,
)

from pipelines.metadata import AssetResult
from pipelines.operations.runs.local_runs import run_job
from pipelines.training.launch import ReportIntervals, launch_training
from storage.root import open_root
from training.launch.process_group import Ending


@asset(pool="gpu")
def fake_stage(context: AssetExecutionContext) -> AssetResult:
    """Counts to its goal."""
    work = Path(os.environ["FAKE_WORK"])
    launch_training(
        context,
        open_root(str(work)),
        work / "job.json",
        processes=1,
        worker="tests.factories.training.fake_training_worker",
        ending=Ending(grace_seconds=0.5),
        intervals=ReportIntervals(line_seconds=0.3, picture_seconds=0.8),
    )
    return AssetResult(metadata={"step": int((work / "checkpoint.txt").read_text())})


definitions = Definitions(
    assets=[fake_stage],
    jobs=[define_asset_job("train_fake", selection=AssetSelection.assets(fake_stage))],
    executor=in_process_executor,
)

if __name__ == "__main__":
    with DagsterInstance.get() as instance:
        run_job("train_fake", instance, definitions=definitions)
