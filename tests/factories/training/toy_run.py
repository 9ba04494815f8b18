"""A training run of networks so small that a step takes a tenth of a second: root, parents and presets.

`TOY_RUN` replaces the preset `tiny_cpu`, so that tests run the same code as users, from the configuration to
the published files.
"""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from upath import UPath

from models.appearance import AppearanceEncoder
from models.audio import AudioEncoder
from models.discriminator import MultiScaleDiscriminator
from models.generator import Generator
from models.motion import MotionEncoder
from models.perception import PerceptionNetwork
from models.presets import PRESETS
from preprocessing.media.jpeg import encode_jpeg
from preprocessing.schema import INDEX_TABLE, STATISTICS_NAME
from storage.publishing import BuildReport, Recipe, materialise
from storage.root import open_root
from tests.factories.training import data as data_makers
from tests.factories.training.data import make_data_set
from tests.factories.training.stages import TOY
from training.data.sources import ExpressionWindowSettings
from training.engine.checkpoint import WEIGHTS_NAME
from training.engine.settings import LoggingConfig, TrainerSettings
from training.engine.stage_weights import StageWeights, collect, write_weights
from training.jobs.config import TrainingConfig
from training.jobs.plan import RUN_PRESETS
from training.runs.preset import RunPreset, StageRun
from training.runs.tiny_cpu import RUN as TINY_CPU
from training.stages.generator import first_generator_config

STEPS: Final = 8
TRAINER: Final = TrainerSettings(steps=STEPS, batch_size=2, ema_decay=0.9)
# Neither the last step nor the one at which a run is killed is a multiple of 3.
LOGGING: Final = LoggingConfig(
    log_every_steps=1,
    checkpoint_every_steps=3,
    samples_every_steps=4,
    held_out_every_steps=4,
    held_out_rows=2,
    workers=2,
    prefetch_batches=2,
)
_TINY: Final = TINY_CPU.stages
TOY_RUN: Final = dataclasses.replace(
    TINY_CPU,
    stages={
        **_TINY,
        "perception": dataclasses.replace(_TINY["perception"], trainer=TRAINER),
        "stage1_motion": dataclasses.replace(
            _TINY["stage1_motion"], trainer=TRAINER.replace(gradient_clip_norm=1.0)
        ),
        "stage3_expression": StageRun(
            _TINY["stage3_expression"].settings.replace(
                memory_rows=7,  # two rows a step: the ring is overwritten from the fourth step on
                windows=ExpressionWindowSettings(window_frames=3),
            ),
            TRAINER,
        ),
    },
    logging=LOGGING,
)
CONFIG: Final = TrainingConfig(device="cpu", run="toy")


def install() -> None:
    """Replace `tiny_cpu` by the toy run in this process."""
    torch.set_num_threads(1)
    cast("dict[str, RunPreset]", RUN_PRESETS)["tiny_cpu"] = TOY_RUN
    cast("dict[str, Any]", PRESETS)["tiny"] = TOY


def make_root(folder: Path) -> UPath:
    """A root with a data set of textured 224 px crops and the parents of every stage."""
    root = open_root(str(folder))
    with mock.patch.object(data_makers, "made_jpeg", textured_jpeg):
        data_set = make_data_set(folder)

    def copy(work: Path) -> BuildReport:
        for name in (INDEX_TABLE, STATISTICS_NAME):
            shutil.copy(data_set / name, work)
        return BuildReport({}, {})

    materialise(root, Recipe("dataset", "whole", "1", {}, {}), copy)
    for stage, parts in parent_parts().items():
        publish_weights(root, stage, CONFIG.run, parts)
    return root


def publish_weights(root: UPath, stage: str, run: str, parts: Mapping[str, nn.Module]) -> None:
    """Publish untrained weights of a stage."""

    def write(work: Path) -> BuildReport:
        write_weights(work / WEIGHTS_NAME, collect(parts))
        return BuildReport({}, {})

    materialise(root, Recipe(stage, run, "1", {}, {}), write)


def parent_parts() -> dict[str, dict[str, nn.Module]]:
    """Untrained networks by stage and part; the same at every call."""
    with torch.random.fork_rng([]):
        torch.manual_seed(11)
        motion, audio = MotionEncoder(TOY.motion), AudioEncoder(TOY.audio)
        return {
            "perception": {"perception": PerceptionNetwork(TOY.perception)},
            "stage1_motion": {
                "appearance": AppearanceEncoder(TOY.appearance),
                "motion.model": motion.model,
                "generator": Generator(first_generator_config(TOY)),
                "discriminator": MultiScaleDiscriminator(TOY.discriminator),
            },
            "stage2_lip": {"motion.to_mouth": motion.to_mouth, "audio.model": audio.model},
            "stage2_eye": {"motion.to_eye": motion.to_eye, "motion.eye_embed": motion.eye_embed},
            "stage2_pose": {
                "motion.to_headpose": motion.to_headpose,
                "motion.headpose_embed": motion.headpose_embed,
            },
        }


def textured_jpeg(clip: int, frame: int, kind: int) -> bytes:
    """A coarse pattern of colours, different for each image; 224 px."""
    rng = np.random.default_rng([clip, frame, kind])
    return encode_jpeg(np.kron(rng.integers(0, 256, (7, 7, 3)), np.ones((32, 32, 1))).astype(np.uint8), 80)


def toy_parents() -> dict[str, StageWeights]:
    """The same weights as the parents of a stage."""
    return {stage: StageWeights(stage, collect(parts)) for stage, parts in parent_parts().items()}


def same(a: Any, b: Any, path: str = "") -> None:
    """Assert bitwise equality of nested values."""
    assert type(a) is type(b), path
    if isinstance(a, Tensor):
        assert a.dtype == b.dtype, path
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for name, value in a.items():
            same(value, b[name], f"{path}.{name}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for number, (first, second) in enumerate(zip(a, b, strict=True)):
            same(first, second, f"{path}[{number}]")
    else:
        assert a == b, path
