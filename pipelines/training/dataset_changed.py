"""The sensor `dataset_changed`: trains a run again when enough of the data set has changed."""

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from pipelines.deployed_settings import deployed
from pipelines.operations.settings import OperationsSettings
from pipelines.partitions import training_runs
from pipelines.preprocessing.batch_runs import REASON_TAG, is_unfinished
from pipelines.resources import WorkspaceResource
from preprocessing.dataset.index import DATASET, WHOLE, changed_share
from storage.publishing import current
from training.jobs.config import TrainingConfig
from training.stage_catalog import RENDERING_STAGE

TRAIN_ALL = "train_all"


@sensor(
    job_name=TRAIN_ALL,
    minimum_interval_seconds=300,
    default_status=DefaultSensorStatus.STOPPED,
    description="Stopped by default. Trains the deployment's run again when more than the share "
    "operations.retrain_share of the samples differs from the data set of its last training.",
)
def dataset_changed(context: SensorEvaluationContext) -> SensorResult | SkipReason:
    """Request `train_all` once for each data set that differs enough."""
    root, run = WorkspaceResource().open(), deployed(TrainingConfig).run
    now = current(root, DATASET, WHOLE)
    if now is None:
        return SkipReason("there is no data set")
    if is_unfinished(context.instance, TRAIN_ALL):
        return SkipReason("train_all is queued or running")
    trained = current(root, RENDERING_STAGE, run)
    if trained is None:
        return SkipReason(f"run {run!r} has not been trained: start its first training by hand")
    share = changed_share(root, trained.manifest.inputs["dataset"])
    bound = deployed(OperationsSettings).retrain_share
    if share <= bound:
        return SkipReason(
            f"{share:.1%} of the samples differ from the last training of {run!r}, threshold {bound:.1%}"
        )
    request = RunRequest(
        run_key=now.manifest.content_digest,
        partition_key=run,
        tags={REASON_TAG: f"{share:.1%} of the data set's samples changed"},
    )
    return SensorResult([request], dynamic_partitions_requests=[training_runs.build_add_request([run])])
