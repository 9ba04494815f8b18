"""A root in which a toy run has a lip stage that nothing has trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torch import nn
from upath import UPath

from models.audio import AudioEncoder
from models.motion import MotionEncoder
from storage.publishing import BuildReport, Recipe, current, materialise
from storage.root import open_root
from tests.factories.models.weights import randomise
from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import publish_weights
from training.engine.checkpoint import WEIGHTS_NAME
from training.engine.stage_weights import collect, write_weights
from training.engine.weights_digest import weights_digest
from training.jobs.config import TrainingConfig
from training.jobs.job import TrainingJob
from training.jobs.stage_run import JOB_NAME

RUN: Final = "toy"


def lip_networks(seed: int) -> dict[str, nn.Module]:
    """The three parts that the lip stage compares, random."""
    motion, audio = MotionEncoder(TOY.motion), AudioEncoder(TOY.audio)
    randomise(motion, seed)
    randomise(audio, seed + 1)
    return {
        "motion.model": motion.model,
        "motion.to_mouth": motion.to_mouth,
        "audio.model": audio.model,
    }


def publish_lip_stage(folder: Path, parts: Mapping[str, nn.Module]) -> UPath:
    """A root with the trunk as stage 1 of the run, the rest as its lip stage."""
    root = open_root(str(folder))
    publish_weights(root, "stage1_motion", RUN, {"motion.model": parts["motion.model"]})
    trunk = current(root, "stage1_motion", RUN)
    assert trunk is not None

    def write(work: Path) -> BuildReport:
        own = {name: part for name, part in parts.items() if name != "motion.model"}
        write_weights(work / WEIGHTS_NAME, collect(own))
        TrainingJob(root=str(root), stage="stage2_lip", config=TrainingConfig(run=RUN), work=work).write(
            work / JOB_NAME
        )
        return BuildReport({}, {})

    recipe = Recipe(
        "stage2_lip", RUN, "1", {"networks": TOY}, {"stage1_motion": trunk.as_input(weights_digest(trunk))}
    )
    materialise(root, recipe, write)
    return root
