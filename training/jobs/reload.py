"""Whether what a stage published can be built on: its weights in new networks, its checkpoint whole."""

from typing import Any

from upath import UPath

from models.presets import NetworkPreset
from storage.publishing import current, verify
from storage.root import local_copy
from training.engine.checkpoint import AVERAGES_NAME, WEIGHTS_NAME, read_checkpoint
from training.engine.stage_weights import read_weights
from training.jobs.job import TrainingJob
from training.jobs.plan import plan_stage
from training.jobs.published_settings import read_settings
from training.jobs.stage_run import CHECKPOINT_FOLDER, JOB_NAME
from training.jobs.worker import read_parents
from training.stages.stage import Stage, StageContext, stage_class


def reload_stage(root: UPath, stage: str, run: str) -> Stage[Any]:
    """A published stage, built anew with its weights (moving averages where there are any), on the CPU.

    Raises:
        ValueError: nothing is published, or it does not fit.
    """
    published = current(root, stage, run)
    if published is None:
        raise ValueError(f"{stage} of run {run!r} is not trained yet: train it first")
    if wrong := verify(published):
        raise ValueError(f"{stage} of run {run!r} is damaged, train it again: not as published: {wrong[:4]}")
    folder = local_copy(published.directory)
    config = TrainingJob.read(folder / JOB_NAME).config
    plan = plan_stage(stage, config)
    # As it was trained: the preset of that name may have changed since.
    networks = read_settings(NetworkPreset, published, "networks")
    settings = read_settings(type(plan.settings), published, "stage")
    context = StageContext(networks, read_parents(root, stage, config), plan.pretrained)
    built = stage_class(stage)(context, settings)
    checkpoint = read_checkpoint(folder / CHECKPOINT_FOLDER)
    weights, averages = read_weights(folder / WEIGHTS_NAME), folder / AVERAGES_NAME
    for part, network in built.saved.items():
        checkpoint.weights.load_into(part, network)
        weights.load_into(part, network)
    if averages.is_file():
        averaged = read_weights(averages)
        for part in built.averaged:
            averaged.load_into(part, built.saved[part])
    return built
