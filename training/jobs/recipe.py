"""A stage's recipe: what must be unchanged for a run to be resumed, or for its result to be up to date."""

from typing import Any

from upath import UPath

from storage.fingerprint import to_json_value
from storage.manifest import Input
from storage.publishing import Recipe, current
from training.data.index import count_held_out_clips
from training.engine.weights_digest import weights_digest
from training.jobs.config import TrainingConfig
from training.jobs.labellers import allowed_mix
from training.jobs.plan import plan_stage
from training.stage_catalog import RELEASED_SETTING, stage_info
from training.stages.stage import stage_class
from weights.resolve import ResolvedWeights

DATASET = ("dataset", "whole")


def stage_recipe(root: UPath, stage: str, config: TrainingConfig) -> Recipe:
    """The recipe of a stage of a run.

    Raises:
        ValueError: there is no data set yet, or a parent stage is not trained.
    """
    return Recipe(
        asset=stage,
        partition=config.run,
        code_version=stage_class(stage).version,
        # Recorded only where labels are mixed: the setting alone makes no run stale.
        settings=stage_settings(stage, config) | allowed_mix(root, stage, config) | _held_out_clips(root),
        inputs=stage_inputs(root, stage, config),
    )


def stage_settings(stage: str, config: TrainingConfig) -> dict[str, Any]:
    """The settings that decide the trained weights, with those of the networks."""
    plan = plan_stage(stage, config)
    return {
        "networks": to_json_value(plan.networks, "networks"),
        "stage": to_json_value(plan.settings, "stage"),
        "trainer": to_json_value(plan.trainer, "trainer"),
        "processes": config.processes,  # a step has batch_size rows of each
    } | _digests(plan.weights)


def _held_out_clips(root: UPath) -> dict[str, int]:
    """The number of held-out clips, if there are any."""
    count = count_held_out_clips(root)
    return {"held_out_clips": count} if count else {}


def _digests(files: tuple[ResolvedWeights, ...]) -> dict[str, str | list[str]]:
    released = [file.sha256 for file in files if file.setting == RELEASED_SETTING]
    single = {
        f"{file.setting.removesuffix('_weights')}_sha256": file.sha256
        for file in files
        if file.setting != RELEASED_SETTING
    }
    return single | ({f"{RELEASED_SETTING}_sha256": released} if released else {})


def stage_inputs(root: UPath, stage: str, config: TrainingConfig) -> dict[str, Input]:
    """The data set and the parents' weights.

    Raises:
        ValueError: one of them is missing.
    """
    dataset = current(root, *DATASET)
    if dataset is None:
        raise ValueError(f"no data set is published under {root}: run the pipeline up to `dataset` first")
    inputs = {"dataset": dataset.as_input()}
    run = config.parents_run or config.run
    for parent in stage_info(stage).parents:
        published = current(root, parent, run)
        if published is None:
            raise ValueError(
                f"{stage} starts from {parent}, which run {run!r} has not trained yet: train it first"
            )
        inputs[parent] = published.as_input(weights_digest(published))
    return inputs


def run_configuration(root: UPath, stage: str, config: TrainingConfig) -> dict[str, Any]:
    """The recipe as checkpoints keep it: without the number of steps, so that a run can be extended."""
    recipe = stage_recipe(root, stage, config)
    settings = dict(recipe.settings_json)
    trainer = settings["trainer"]
    assert isinstance(trainer, dict)
    settings["trainer"] = {name: value for name, value in trainer.items() if name != "steps"}
    values = recipe.identity | {"settings": settings}
    return {name: to_json_value(value, name) for name, value in values.items()}
