"""Training a stage of a run, if it is not up to date: the job's folder, its processes, what is published.

Importing this imports no torch; its functions do.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError
from upath import UPath

from storage.atomic import copy_folder, partial_path
from storage.objects import is_local
from storage.publishing import BuildReport, Published, current, materialise, setting_changes, verify
from storage.root import local_copy
from storage.settings import settings_error
from training.engine.checkpoint_copies import copies_location, remove_copies, restore_checkpoint
from training.engine.progress import METRICS_NAME, SAMPLES_FOLDER, read_losses
from training.engine.weights_digest import EMA_NAME, WEIGHTS_NAME
from training.jobs.config import TrainingConfig
from training.jobs.job import TrainingJob
from training.jobs.labellers import require_one_labeller
from weights.resolve import write_pretrained_weights

Launch = Callable[[Path, int], None]
"""Runs a job file in that many processes, until they end; raises where they failed."""

T = TypeVar("T")

JOB_NAME: Final = "job.json"
CHECKPOINT_FOLDER: Final = "checkpoint"

logger = logging.getLogger(__name__)


def run_stage(
    root: UPath, stage: str, config: TrainingConfig, launch: Launch, *, force: bool = False
) -> Published:
    """Train a stage unless it is up to date; resumes an interrupted run.

    Publishes `weights.safetensors`, `ema.safetensors` where there are averages, `held_out_metrics.json`,
    `metrics.jsonl`, `metrics.parquet`, `samples/`, `tensorboard/`, and `checkpoint/`, the last one, from
    which the same settings with more steps continue. `pretrained_weights.json` lists the pretrained weights
    used.

    Raises:
        ValueError: data set or parents are missing or do not fit; labels come from different labellers.
    """
    from training.jobs.plan import require_named_weights, stage_weights, training_weights
    from training.jobs.recipe import run_configuration, stage_recipe

    recipe = stage_recipe(root, stage, config)

    def build(work: Path) -> BuildReport:
        from training.engine.checkpoint import newest_checkpoint
        from training.engine.checkpoint_files import CHECKPOINTS_FOLDER

        require_one_labeller(root, stage, config)
        require_named_weights(config)
        training_weights(config)  # fail before training, for the weights of later stages too
        if not is_local(root):
            if force:
                remove_copies(root, stage, config.run)
            restore_checkpoint(root, copies_location(stage, config.run, work), work)
        if not force and newest_checkpoint(work / CHECKPOINTS_FOLDER) is None:
            configuration = run_configuration(root, stage, config)
            if not _extend(root, stage, config, work, configuration):
                _log_new_start(root, stage, config, work, configuration)
        job = work / JOB_NAME
        TrainingJob(root=str(root), stage=stage, config=config, work=work).write(job)
        write_pretrained_weights(work, stage_weights(stage, config))
        launch(job, process_count(config))
        newest = newest_checkpoint(work / CHECKPOINTS_FOLDER)
        if newest is None:
            raise ValueError(f"{stage}: the job ended without a checkpoint in {work}")
        copy_folder(newest, work / CHECKPOINT_FOLDER)
        records = read_losses(work)
        speeds = sorted(record.images_per_second for record in records)
        counts = {"steps": records[-1].step, "images_per_second": round(speeds[len(speeds) // 2], 2)}
        return BuildReport(counts, refusals={})

    published = materialise(root, recipe, build, force=force)
    if published.built and not is_local(root):
        remove_copies(root, stage, config.run)
    return published


def process_count(config: TrainingConfig) -> int:
    """Training processes on this machine: by default one per GPU, or one on a CPU."""
    if config.processes:
        return config.processes
    import torch

    on_gpu = config.device != "cpu" and torch.cuda.is_available()
    return torch.cuda.device_count() if on_gpu else 1


def reload_stage(root: UPath, stage: str, run: str) -> Any:
    """Build the networks of a published stage and load its checkpoint, weights and averages, on the CPU.

    Returns:
        The `training.stages.stage.Stage`.

    Raises:
        ValueError: nothing is published, or it is damaged or does not fit.
    """
    from models.presets import NetworkPreset
    from training.engine.checkpoint import read_checkpoint
    from training.engine.stage_weights import read_weights
    from training.jobs.plan import plan_stage
    from training.jobs.worker import read_parents
    from training.stages.stage import StageContext, stage_class

    published = current(root, stage, run)
    if published is None:
        raise ValueError(f"{stage} of run {run!r} is not trained yet: train it first")
    if wrong := verify(published):
        raise ValueError(f"{stage} of run {run!r} is damaged, train it again: not as published: {wrong[:4]}")
    folder = local_copy(published.directory)
    config = TrainingJob.read(folder / JOB_NAME).config
    # The settings that it was trained with: those of the preset may have changed since.
    networks = read_settings(NetworkPreset, published, "networks")
    settings = read_settings(stage_class(stage).settings_type, published, "stage")
    pretrained = plan_stage(stage, config).pretrained
    context = StageContext(networks, read_parents(root, stage, config), pretrained)
    built = stage_class(stage)(context, settings)
    checkpoint, weights = read_checkpoint(folder / CHECKPOINT_FOLDER), read_weights(folder / WEIGHTS_NAME)
    for part, network in built.saved.items():
        checkpoint.weights.load_into(part, network)
        weights.load_into(part, network)
    if (folder / EMA_NAME).is_file():
        averages = read_weights(folder / EMA_NAME)
        for part in built.averaged:
            averages.load_into(part, built.saved[part])
    return built


def read_settings(kind: type[T], published: Published, name: str) -> T:
    """The settings that a published stage was trained with; fields added since take their defaults.

    Args:
        kind: a settings class or a dataclass.
        published: the stage.
        name: "networks" or "stage", as in `training.jobs.recipe.stage_settings`.

    Raises:
        ValueError: the settings are of another version.
    """
    try:
        return TypeAdapter(kind).validate_python(published.manifest.settings.get(name))
    except ValidationError as error:
        raise ValueError(
            f"{published.manifest.asset} of run {published.manifest.partition!r} has settings of another "
            f"version, train it again ({settings_error(error)})"
        ) from error


def _extend(root: UPath, stage: str, config: TrainingConfig, work: Path, configuration: object) -> bool:
    """Start from the published checkpoint if nothing but the number of steps has grown; False if not."""
    from training.engine.checkpoint_files import CHECKPOINTS_FOLDER, read_manifest
    from training.jobs.plan import plan_stage

    published = current(root, stage, config.run)
    if published is None:
        return False
    folder = local_copy(published.directory)
    manifest = read_manifest(folder / CHECKPOINT_FOLDER)
    steps = plan_stage(stage, config).trainer.steps
    if manifest["configuration"] != configuration or manifest["step"] >= steps:
        return False
    shutil.copy(folder / METRICS_NAME, work)
    for name in (SAMPLES_FOLDER, "tensorboard"):
        if (folder / name).is_dir():  # not every stage generates images
            copy_folder(folder / name, work / name)
    # Last, and by a rename: half a checkpoint would be read as a damaged one.
    target = work / CHECKPOINTS_FOLDER / f"step-{manifest['step']:08d}"
    partial = partial_path(target)
    copy_folder(folder / CHECKPOINT_FOLDER, partial)
    partial.rename(target)
    logger.info("Extending %s from step %d to %d", stage, manifest["step"], steps)
    return True


def _log_new_start(
    root: UPath, stage: str, config: TrainingConfig, work: Path, configuration: Mapping[str, Any]
) -> None:
    """Say that what the run trained before, published or interrupted, is not resumed, and why."""
    from training.engine.checkpoint import newest_checkpoint
    from training.engine.checkpoint_files import CHECKPOINTS_FOLDER, read_manifest

    before: list[tuple[str, Path]] = []
    if (published := current(root, stage, config.run)) is not None:
        before.append(("published", local_copy(published.directory) / CHECKPOINT_FOLDER))
    before += [
        ("interrupted", newest)
        for other in sorted(path for path in work.parent.iterdir() if path != work)
        if (newest := newest_checkpoint(other / CHECKPOINTS_FOLDER)) is not None
    ]
    for kind, folder in before:
        manifest = read_manifest(folder)
        changes = setting_changes(manifest["configuration"]["settings"], configuration["settings"])
        if manifest["configuration"] == configuration:
            changes = ["it has as many steps or more"]
        logger.warning(
            "%s of run %s begins anew: it cannot continue the training %s at step %d (%s)",
            stage,
            config.run,
            kind,
            manifest["step"],
            "; ".join(changes) or "other inputs or another version",
        )
