"""Everything that Dagster shows. Loading this imports no torch, MediaPipe or onnxruntime."""

from dagster import AssetSelection, Definitions, define_asset_job, in_process_executor

from pipelines.animate_job import animate
from pipelines.assets.batch_steps import step_assets
from pipelines.assets.dataset import dataset, identities_disjoint
from pipelines.assets.evaluation import evaluation_assets
from pipelines.assets.evaluation_report import evaluation_report
from pipelines.assets.source_videos import source_videos
from pipelines.assets.training import stage_assets
from pipelines.console import plain_console
from pipelines.resources import DatasetChoice, Evaluation, Preprocessing, Sources, Training, Workspace
from training.choice import STAGE_NAMES

preprocess = define_asset_job(
    "preprocess",
    selection=AssetSelection.assets(*step_assets),
    description="All of a batch: from its videos to its shards. Run it for every new batch (a backfill).",
)
scan_job = define_asset_job(
    "scan_sources",
    selection=AssetSelection.assets(source_videos),
    description="Look for new videos; each new batch becomes a partition.",
)
index_job = define_asset_job(
    "index_dataset",
    selection=AssetSelection.assets(dataset),
    description="Join the shards of all batches into the data set.",
)
train_all = define_asset_job(
    "train_all",
    selection=AssetSelection.assets(*stage_assets),
    description="Train every stage, each from those before it. One choice holds for all of them.",
)
train_jobs = [
    define_asset_job(
        f"train_{name}",
        selection=AssetSelection.assets(stage),
        description=f"Train {name} alone, from what the stages before it have published.",
    )
    for name, stage in zip(STAGE_NAMES, stage_assets, strict=True)
]
evaluate_job = define_asset_job(
    "evaluate",
    selection=AssetSelection.assets(*evaluation_assets, evaluation_report),
    description="Make a run's videos, measure them, and write the report.",
)

definitions = Definitions(
    assets=[source_videos, *step_assets, dataset, *stage_assets, *evaluation_assets, evaluation_report],
    asset_checks=[identities_disjoint],
    jobs=[scan_job, preprocess, index_job, train_all, *train_jobs, evaluate_job, animate],
    resources={
        "workspace": Workspace(),
        "sources": Sources(),
        "preprocessing": Preprocessing(),
        "dataset_choice": DatasetChoice(),
        "training_choice": Training(),
        "evaluation_choice": Evaluation(),
    },
    loggers={"plain": plain_console},
    # A step's own process pool does the work; a process a step would only add a second to each.
    executor=in_process_executor,
)
