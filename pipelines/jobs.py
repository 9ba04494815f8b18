"""Jobs: selections of assets that people, schedules and sensors launch together."""

from dagster import AssetSelection, define_asset_job

from pipelines.deployed_settings import deployed
from pipelines.evaluation.assets import evaluation_assets
from pipelines.evaluation.report import evaluation_report
from pipelines.operations.cluster_resources import ClusterResources
from pipelines.preprocessing.batch_steps import step_assets
from pipelines.preprocessing.dataset import dataset
from pipelines.preprocessing.source_videos import source_videos
from pipelines.training.assets import stage_assets
from training.stage_catalog import STAGE_NAMES

_CLUSTER = deployed(ClusterResources)

preprocess = define_asset_job(
    "preprocess",
    selection=AssetSelection.assets(*step_assets),
    tags=_CLUSTER.batch_tags(),
    description="Preprocess a batch, from its videos to its shards. For several batches launch a backfill.",
)
scan_job = define_asset_job(
    "scan_sources",
    selection=AssetSelection.assets(source_videos),
    description="Scan for new videos; each new batch becomes a partition.",
)
index_job = define_asset_job(
    "index_dataset",
    selection=AssetSelection.assets(dataset),
    description="Join the shards of all batches into the data set.",
)
train_all = define_asset_job(
    "train_all",
    selection=AssetSelection.assets(*stage_assets),
    tags=_CLUSTER.training_tags(),
    description="Train every stage of a run. The partition names the run.",
)
train_jobs = [
    define_asset_job(
        f"train_{name}",
        selection=AssetSelection.assets(stage),
        tags=_CLUSTER.training_tags(),
        description=f"Train {name}, starting from the published stages before it.",
    )
    for name, stage in zip(STAGE_NAMES, stage_assets, strict=True)
]
evaluate_job = define_asset_job(
    "evaluate",
    selection=AssetSelection.assets(*evaluation_assets, evaluation_report),
    tags=_CLUSTER.training_tags(),
    description="Generate the videos of a run, measure them and write the report.",
)
