"""The sensor `dataset_changed`: trains again when enough of the data set is not what was trained on."""

from dagster import DefaultSensorStatus, RunRequest, SensorEvaluationContext, SkipReason, sensor

from pipelines.deployed_settings import deployed
from pipelines.operations.settings import OperationsSettings
from pipelines.preprocessing.batch_runs import is_unfinished
from pipelines.resources import Workspace
from preprocessing.dataset.change import changed_share
from preprocessing.dataset.whole import DATASET, WHOLE
from storage.publishing import current
from training.jobs.config import TrainingConfig
from training.stage_catalog import RENDERING_STAGE

TRAIN_ALL = "train_all"


@sensor(
    job_name=TRAIN_ALL,
    minimum_interval_seconds=300,
    default_status=DefaultSensorStatus.STOPPED,
    description="Off at first. Trains the deployment's run again when more than the share "
    "operations.retrain_share of the data set's samples differs from what it was last trained on.",
)
def dataset_changed(context: SensorEvaluationContext) -> RunRequest | SkipReason:
    """Ask for `train_all` once for each data set that differs enough."""
    root, run = Workspace().open(), deployed(TrainingConfig).run
    now = current(root, DATASET, WHOLE)
    if now is None:
        return SkipReason("there is no data set yet")
    if is_unfinished(context.instance, TRAIN_ALL):
        return SkipReason("train_all is queued or running")
    trained = current(root, RENDERING_STAGE, run)
    if trained is None:
        return SkipReason(f"run {run!r} was never trained to its end: start it by hand once")
    share = changed_share(root, trained.manifest.inputs["dataset"])
    bound = deployed(OperationsSettings).retrain_share
    if share <= bound:
        return SkipReason(
            f"{share:.1%} of the samples differ from what {run!r} was trained on, bound {bound:.1%}"
        )
    why = f"{share:.1%} of the data set's samples changed"
    return RunRequest(run_key=now.manifest.content_digest, tags={"pdfgc/why": why})
