"""Checkpoints with random weights, as a training run or the release would leave them."""

from pathlib import Path

import torch
from torch import nn
from upath import UPath

from models.appearance import AppearanceEncoder
from models.audio import AudioEncoder
from models.generator import Generator
from models.motion import MotionEncoder
from models.presets import TINY
from storage.publishing import BuildReport, Recipe, materialise
from storage.root import open_root
from tests.factories.models.weights import randomise
from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import parent_parts, publish_weights
from training.engine.checkpoint import EMA_NAME, WEIGHTS_NAME
from training.engine.stage_weights import collect, write_weights
from training.jobs.config import TrainingConfig
from training.jobs.job import TrainingJob
from training.jobs.recipe import stage_settings
from training.jobs.stage_run import JOB_NAME
from training.stage_catalog import EYE_AXES_PART
from training.stages.codes.code_scale import CODE_SCALE_PART, CodeScale
from training.stages.codes.eye_axes import EyeAxes


def write_released_tiny(folder: Path) -> None:
    """The four released files' names, with networks of the tiny preset."""
    torch.manual_seed(3)
    networks: dict[str, nn.Module] = {
        "appearance": AppearanceEncoder(TINY.appearance),
        "motion": MotionEncoder(TINY.motion),
        "audio": AudioEncoder(TINY.audio),
        "generator": Generator(TINY.generator),
    }
    folder.mkdir(parents=True)
    for name, network in networks.items():
        torch.save(network.state_dict(), folder / f"{name}_model.pth")


def stage3_parts(seed: int) -> dict[str, nn.Module]:
    """What stage 3 of a toy run trains."""
    motion, generator = MotionEncoder(TOY.motion), Generator(TOY.generator)
    for network in (motion, generator):
        randomise(network, seed)
    return {
        "motion.to_emo": motion.to_emo,
        "motion.emo_embed": motion.emo_embed,
        "lip_code": motion.mouth_embed,
        "generator": generator,
        CODE_SCALE_PART: toy_code_scale(),
    }


def toy_code_scale() -> CodeScale:
    """Factors that differ from one another and from 1; float16 numbers."""
    scale = CodeScale()
    scale.factors.copy_(torch.tensor([2.0, 0.5, 4.0, 3.0]))
    return scale


def fitted_axes() -> EyeAxes:
    """What an eye stage measures whose code is the four labels and two zeros, with labels of no noise."""
    axes = EyeAxes()
    labels = torch.randn(64, 4, generator=torch.Generator().manual_seed(4))
    axes.fit(torch.cat([labels, torch.zeros(64, 2)], dim=1), labels)
    return axes


def publish_toy_run(
    folder: Path, run: str, *, averages: bool = True, eye_axes: EyeAxes | None = None
) -> UPath:
    """A root with every stage of a toy run; stage 3 has seed 5, its averages seed 6.

    Without `eye_axes` its eye stage is of before it measured which parts of its code are gaze and blinks.
    """
    root = open_root(str(folder))
    for stage, parts in parent_parts().items():
        if stage == "stage2_eye" and eye_axes is not None:
            parts[EYE_AXES_PART] = eye_axes
        publish_weights(root, stage, run, parts)

    def write(work: Path) -> BuildReport:
        write_weights(work / WEIGHTS_NAME, collect(stage3_parts(5)))
        if averages:
            write_weights(work / EMA_NAME, collect(stage3_parts(6)))
        TrainingJob(
            root=str(root), stage="stage3_expression", config=TrainingConfig(run=run), work=work
        ).write(work / JOB_NAME)
        return BuildReport({}, {})

    settings = stage_settings("stage3_expression", TrainingConfig(run=run))
    materialise(root, Recipe("stage3_expression", run, "1", settings, {}), write)
    return root
