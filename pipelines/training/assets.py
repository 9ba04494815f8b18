"""The assets of training: one a stage."""

from dataclasses import dataclass
from typing import Any, Final

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    DataVersion,
    MetadataValue,
    asset,
)

from pipelines.checks import check_specs, run_checks
from pipelines.deployed_settings import deployed
from pipelines.materialised import Materialised
from pipelines.metadata import picture, what_happened
from pipelines.operations.instance import GPU_POOL
from pipelines.operations.retries import retry_transient_errors
from pipelines.operations.settings import OperationsSettings
from pipelines.partitions import training_runs
from pipelines.preprocessing.dataset import dataset
from pipelines.resources import TrainingResource, WorkspaceResource
from pipelines.training.checks import TRAINING_CHECKS, TrainedStage
from pipelines.training.launch import Watching, launch_training
from pipelines.training.pictures import draw_losses, figure_table
from pipelines.training.record import newest_sample, read_figures, read_losses
from storage.publishing import Published
from storage.root import local_copy
from training.jobs.stage_run import run_stage
from training.stage_catalog import STAGES, StageInfo


@dataclass(frozen=True)
class _Made:
    """A published stage and where its files can be read."""

    published: Published
    trained: TrainedStage


def _stage_asset(info: StageInfo) -> AssetsDefinition:
    @asset(
        name=info.name,
        deps=[dataset, *info.parents],
        partitions_def=training_runs,
        group_name="training",
        pool=GPU_POOL,
        kinds={"pytorch"},
        owners=["team:training"],
        check_specs=check_specs(info.name, TRAINING_CHECKS),
        description=info.description,
    )
    def stage(
        context: AssetExecutionContext, workspace: WorkspaceResource, training_config: TrainingResource
    ) -> Materialised:
        root, run = workspace.open(), context.partition_key
        config = training_config.to_config(run)
        with retry_transient_errors(context):
            published = run_stage(
                root,
                info.name,
                config,
                lambda job, processes: launch_training(context, job, processes, watching=_watching()),
                force=workspace.force,
                progress=context.log.info,
            )
        context.log.info("%s", what_happened(published))
        made = _Made(published, TrainedStage(root, info.name, run, local_copy(published.directory)))
        return Materialised(
            metadata=_metadata(made),
            check_results=run_checks(TRAINING_CHECKS, made.trained),
            data_version=DataVersion(published.manifest.content_digest),
        )

    return stage


def _watching() -> Watching:
    settings = deployed(OperationsSettings)
    return Watching(settings.progress_seconds, settings.picture_seconds)


def _metadata(made: _Made) -> dict[str, Any]:
    """First what happened and the pictures, then the figures, then the costs."""
    folder, manifest = made.trained.folder, made.published.manifest
    records, sample = read_losses(folder), newest_sample(folder)
    metadata: dict[str, Any] = {
        "what happened": what_happened(made.published),
        "run": made.trained.run,
        "held-out figures": figure_table(read_figures(folder)),
    }
    if records:
        last = records[-1]
        metadata |= {
            "picture: losses": picture(draw_losses(records)),
            "steps": last.step,
            "images per second": round(last.images_per_second, 2),
            "seconds per step": round(last.seconds_per_step, 4),
            **{f"loss: {loss}": float(f"{value:.4g}") for loss, value in last.losses.items()},
        }
    if sample is not None:
        metadata["picture: samples"] = picture(sample.read_bytes())
    return metadata | {
        "seconds": round(manifest.seconds, 2),
        "code version": manifest.code_version,
        "folder": MetadataValue.path(str(made.published.directory)),
        "TensorBoard": MetadataValue.text(f"tensorboard --logdir '{folder}'"),
        "fingerprint": manifest.fingerprint[:16],
        "content": manifest.content_digest[:16],
    }


stage_assets: Final = [_stage_asset(info) for info in STAGES.values()]
