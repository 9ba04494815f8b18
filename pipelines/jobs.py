"""The jobs: which assets go together, as people and sensors start them."""

from dagster import AssetSelection, define_asset_job

from pipelines.evaluation.assets import evaluation_assets
from pipelines.evaluation.baseline_run import baseline_run
from pipelines.evaluation.report import evaluation_report
from pipelines.preprocessing.batch_steps import step_assets
from pipelines.preprocessing.dataset import dataset
from pipelines.preprocessing.reprocessing_plan import reprocessing_plan
from pipelines.preprocessing.source_videos import source_videos
from pipelines.training.assets import stage_assets
from training.stage_catalog import STAGE_NAMES

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
set_baseline_job = define_asset_job(
    "set_baseline",
    selection=AssetSelection.assets(baseline_run),
    description="Set a run as the baseline that later runs must not be worse than. Needs a note.",
)
reprocess_job = define_asset_job(
    "reprocess_stale",
    selection=AssetSelection.assets(reprocessing_plan),
    description="Find the batches whose fingerprint no longer fits and make exactly these again; as a dry "
    "run, only list them.",
)
