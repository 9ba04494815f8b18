"""The Dagster definitions of the project. Loading them imports no torch, MediaPipe, onnxruntime or ray."""

from dagster import (
    AssetSelection,
    AutomationConditionSensorDefinition,
    DefaultSensorStatus,
    Definitions,
    in_process_executor,
)

from pipelines.deployed_settings import deployed
from pipelines.evaluation.animate_job import animate
from pipelines.evaluation.assets import evaluation_assets
from pipelines.evaluation.baseline_run import baseline_run, set_baseline_job
from pipelines.evaluation.report import evaluation_report
from pipelines.jobs import evaluate_job, index_job, preprocess, scan_job, train_all, train_jobs
from pipelines.operations.automation import MINIMUM_INTERVAL_SECONDS
from pipelines.operations.maintenance.gc_job import collect_garbage
from pipelines.operations.maintenance.verify_job import verify_files
from pipelines.operations.plain_logger import plain_console
from pipelines.operations.runs.failed_runs import failed_runs
from pipelines.operations.schedules import (
    nightly_reprocessing,
    nightly_verify,
    weekly_gc,
    weekly_training,
)
from pipelines.operations.settings import OperationsSettings
from pipelines.preprocessing.adopt_settings import adopt_settings_job
from pipelines.preprocessing.batch_steps import step_assets
from pipelines.preprocessing.dataset import dataset, identities_disjoint
from pipelines.preprocessing.identities import identity_assets
from pipelines.preprocessing.new_videos import new_videos
from pipelines.preprocessing.planned_batches import planned_batches
from pipelines.preprocessing.reprocessing_plan import reprocess_job, reprocessing_plan
from pipelines.preprocessing.source_videos import add_videos_job, source_videos
from pipelines.resources import RESOURCES
from pipelines.training.assets import stage_assets
from pipelines.training.dataset_changed import dataset_changed

_OPERATIONS = deployed(OperationsSettings)

definitions = Definitions(
    assets=[
        source_videos,
        *step_assets,
        dataset,
        *stage_assets,
        *evaluation_assets,
        evaluation_report,
        baseline_run,
        reprocessing_plan,
        *identity_assets(),
    ],
    asset_checks=[identities_disjoint],
    jobs=[
        add_videos_job,
        scan_job,
        preprocess,
        index_job,
        reprocess_job,
        adopt_settings_job,
        train_all,
        *train_jobs,
        evaluate_job,
        set_baseline_job,
        animate,
        collect_garbage,
        verify_files,
    ],
    schedules=[
        nightly_reprocessing(_OPERATIONS),
        weekly_training(_OPERATIONS),
        weekly_gc(_OPERATIONS),
        nightly_verify(_OPERATIONS),
    ],
    sensors=[
        new_videos,
        planned_batches,
        dataset_changed,
        failed_runs,
        AutomationConditionSensorDefinition(
            "automation",
            target=AssetSelection.assets(dataset, *evaluation_assets, evaluation_report),
            default_status=DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=MINIMUM_INTERVAL_SECONDS,
            description="Materializes the data set after its batches and evaluations after training.",
        ),
    ],
    resources={name: resource() for name, resource in RESOURCES.items()},
    loggers={"plain": plain_console},
    # Steps have their own process pools; one more process per step would only add a second each.
    executor=in_process_executor,
)
