"""The assets of training: one per stage."""

from dataclasses import dataclass
from typing import Any, Final

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    DataVersion,
    asset,
)
from upath import UPath

from evaluation.film.film import FILM_FOLDER, FILM_NAME, PICTURE_NAME
from pipelines.checks import check_specs, run_checks
from pipelines.deployed_settings import deployed
from pipelines.metadata import AssetResult, build_reason
from pipelines.operations.instance import GPU_POOL
from pipelines.operations.runs.guarded_step import guarded_step
from pipelines.operations.settings import OperationsSettings
from pipelines.partitions import training_runs
from pipelines.preprocessing.dataset import dataset
from pipelines.resources import TrainingResource, WorkspaceResource
from pipelines.training.checks import TRAINING_CHECKS, TrainedStage
from pipelines.training.launch import ReportIntervals, launch_training
from pipelines.training.pictures import draw_losses, metric_table
from pipelines.web.locations import build_link, build_location, picture_at, store_picture, tensorboard_link
from storage.publishing import Published
from storage.root import local_copy
from training.engine.progress import newest_sample, read_held_out_metrics, read_losses
from training.jobs.stage_run import run_stage
from training.launch.launchers import LaunchSettings
from training.stage_catalog import STAGES, StageInfo

RUN_TAG: Final = "pdfgc/run"
PRESET_TAG: Final = "pdfgc/preset"


@dataclass(frozen=True)
class _StageResult:
    """A published stage and its local files."""

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
    ) -> AssetResult:
        with guarded_step(context):
            root, run = workspace.open(), context.partition_key
            config = training_config.to_config(run)
            context.instance.add_run_tags(context.run_id, {RUN_TAG: run, PRESET_TAG: config.preset})
            published = run_stage(
                root,
                info.name,
                config,
                lambda job, processes: launch_training(
                    context,
                    root,
                    job,
                    processes,
                    intervals=_report_intervals(),
                    launcher=deployed(LaunchSettings),
                ),
                force=workspace.force,
            )
        context.log.info("%s", build_reason(published))
        result = _StageResult(published, TrainedStage(root, info.name, run, local_copy(published.directory)))
        return AssetResult(
            metadata=_metadata(root, result),
            check_results=run_checks(TRAINING_CHECKS, result.trained),
            data_version=DataVersion(published.manifest.content_digest),
        )

    return stage


def _report_intervals() -> ReportIntervals:
    settings = deployed(OperationsSettings)
    return ReportIntervals(settings.progress_seconds, settings.picture_seconds)


def _metadata(root: UPath, result: _StageResult) -> dict[str, Any]:
    """Metadata of a stage: why it was built, held-out metrics, losses, samples, costs."""
    folder, manifest = result.trained.folder, result.published.manifest
    records, sample = read_losses(folder), newest_sample(folder)
    metadata: dict[str, Any] = {}
    if f"{FILM_FOLDER}/{PICTURE_NAME}" in manifest.files:
        metadata["picture: film"] = picture_at(
            build_location(result.published, f"{FILM_FOLDER}/{PICTURE_NAME}")
        )
        metadata["film"] = build_link(result.published, f"{FILM_FOLDER}/{FILM_NAME}")
    if sample is not None:
        location = build_location(result.published, sample.relative_to(folder).as_posix())
        metadata["picture: samples"] = picture_at(location)
    if records:
        name = f"training/{result.trained.run}/{result.trained.stage}/losses"
        metadata["picture: losses"] = store_picture(root, name, draw_losses(records))
    metadata |= {
        "build": build_reason(result.published),
        "run": result.trained.run,
        "held-out metrics": metric_table(read_held_out_metrics(folder)),
    }
    if records:
        last = records[-1]
        metadata |= {
            "steps": last.step,
            "images per second": round(last.images_per_second, 2),
            "seconds per step": round(last.seconds_per_step, 4),
            **{f"loss: {loss}": float(f"{value:.4g}") for loss, value in last.losses.items()},
        }
    return metadata | {
        "seconds": round(manifest.seconds, 2),
        "code version": manifest.code_version,
        "folder": build_link(result.published),
        "TensorBoard": tensorboard_link(result.trained.run),
        "fingerprint": manifest.fingerprint[:16],
        "content": manifest.content_digest[:16],
    }


stage_assets: Final = [_stage_asset(info) for info in STAGES.values()]
