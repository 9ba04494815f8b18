"""A stage of a run, made where it is not up to date: the job's folder, its processes, what is published.

Importing this imports no torch; making a recipe does.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from upath import UPath

from storage.atomic import partial_path
from storage.publishing import BuildReport, Published, current, materialise
from storage.root import local_copy
from training.jobs.config import TrainingConfig
from training.jobs.job import TrainingJob
from training.jobs.labellers import require_one_labeller
from training.stage_catalog import stage_info
from weights.resolve import resolve_config, write_pretrained_weights

Launch = Callable[[Path, int], None]
"""Starts a job file in so many processes and returns when they are done; raises where they failed."""

JOB_NAME: Final = "job.json"
CHECKPOINT_FOLDER: Final = "checkpoint"


def run_stage(
    root: UPath,
    stage: str,
    config: TrainingConfig,
    launch: Launch,
    *,
    force: bool = False,
    progress: Callable[[str], None],
) -> Published:
    """Train a stage unless it is up to date; a killed run is gone on with.

    What is published: `weights.safetensors`, `averages.safetensors` where there are any, `figures.json`,
    `metrics.jsonl`, `metrics.parquet`, `samples/`, `tensorboard/`, and `checkpoint/`, the last one whole:
    the same config with more steps goes on from there. `pretrained_weights.json` lists the
    pretrained weights used.

    Raises:
        ValueError: data set or parents are not there, or do not fit; labels come of different labellers.
    """
    from training.jobs.recipe import run_configuration, stage_recipe

    recipe = stage_recipe(root, stage, config)

    def build(work: Path) -> BuildReport:
        from training.engine.checkpoint import CHECKPOINTS_FOLDER, newest_checkpoint

        require_one_labeller(root, stage, config, progress)
        resolve_config(config)  # fail before training, for weights of later stages too
        if not force and newest_checkpoint(work / CHECKPOINTS_FOLDER) is None:
            _prolong(root, stage, config, work, run_configuration(root, stage, config), progress)
        job = work / JOB_NAME
        TrainingJob(root=str(root), stage=stage, config=config, work=work).write(job)
        write_pretrained_weights(work, resolve_config(config, stage_info(stage).pretrained))
        launch(job, process_count(config))
        newest = newest_checkpoint(work / CHECKPOINTS_FOLDER)
        if newest is None:
            raise ValueError(f"{stage}: the job ended without a checkpoint in {work}")
        shutil.copytree(newest, work / CHECKPOINT_FOLDER, dirs_exist_ok=True)
        return _report(work)

    return materialise(root, recipe, build, force=force)


def process_count(config: TrainingConfig) -> int:
    """Training processes on this machine: one a GPU where there are any, one on a CPU."""
    if config.processes:
        return config.processes
    import torch

    wanted = config.device != "cpu" and torch.cuda.is_available()
    return torch.cuda.device_count() if wanted else 1


def check_reloads(root: UPath, stage: str, run: str) -> None:
    """Load a published stage's weights and whole checkpoint into networks made anew.

    Raises:
        ValueError: nothing is published, or it does not fit.
    """
    from training.jobs.reload import reload_stage

    reload_stage(root, stage, run)


def read_figures(root: UPath, stage: str, run: str) -> list[dict[str, object]]:
    """The held-out figures of a published stage; empty where nothing is published."""
    published = current(root, stage, run)
    if published is None:
        return []
    return json.loads((local_copy(published.directory) / "figures.json").read_text("utf-8"))


def _prolong(
    root: UPath,
    stage: str,
    config: TrainingConfig,
    work: Path,
    configuration: object,
    progress: Callable[[str], None],
) -> None:
    """Start from the published checkpoint where only the number of steps has grown since."""
    from training.engine.checkpoint import CHECKPOINTS_FOLDER, MANIFEST_NAME
    from training.jobs.plan import plan_stage

    published = current(root, stage, config.run)
    if published is None:
        return
    folder = local_copy(published.directory)
    manifest = json.loads((folder / CHECKPOINT_FOLDER / MANIFEST_NAME).read_text("utf-8"))
    steps = plan_stage(stage, config).loop.steps
    if manifest["configuration"] != configuration or manifest["step"] >= steps:
        return
    shutil.copy(folder / "metrics.jsonl", work)
    for name in ("samples", "tensorboard"):
        if (folder / name).is_dir():  # not every stage makes pictures
            shutil.copytree(folder / name, work / name, dirs_exist_ok=True)
    # Last and by a rename: half a checkpoint would be taken for a damaged one.
    target = work / CHECKPOINTS_FOLDER / f"step-{manifest['step']:08d}"
    partial = partial_path(target)
    shutil.copytree(folder / CHECKPOINT_FOLDER, partial)
    partial.rename(target)
    progress(f"{stage}: {manifest['step']} steps were trained before, {steps} are wanted: going on")


def _report(work: Path) -> BuildReport:
    from training.engine.metrics_log import METRICS_NAME, read_metrics

    told = [line for line in read_metrics(work / METRICS_NAME) if "losses" in line]
    speeds = sorted(line["images_per_second"] for line in told)
    return BuildReport(
        counts={"steps": told[-1]["step"], "images_per_second": round(speeds[len(speeds) // 2], 2)},
        refusals={},
    )
