"""A training run of networks so small that a step takes a tenth of a second: root, parents and presets.

`TOY_RUN` replaces the preset `tiny_cpu`, so that tests run the same code as users, from the configuration to
the published files. `TOY_CACHED_RUN` replaces `small_gpu`: the same with cached features. Both have the
appearance path `map` unless the configuration asks for `warp`, whose parents are `WARP_CONFIG`'s run.
"""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast
from unittest import mock

import cv2
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
from models.presets import PRESETS, NetworkPreset
from preprocessing.media.jpeg import encode_jpeg
from preprocessing.schema import INDEX_TABLE, STATISTICS_NAME
from storage.publishing import BuildReport, Recipe, materialise
from storage.root import open_root
from tests.factories.training import data as data_makers
from tests.factories.training.data import CLIPS, MadeClip, make_data_set
from tests.factories.training.stages import TOY, TOY_WARP, trained_flow
from training.data.sources import ExpressionWindowSettings
from training.engine.checkpoint import WEIGHTS_NAME
from training.engine.settings import LoggingConfig, TrainerSettings
from training.engine.stage_weights import StageWeights, collect, write_weights
from training.jobs.config import TrainingConfig
from training.jobs.plan import RUN_PRESETS
from training.runs.preset import RunPreset, StageRun
from training.runs.tiny_cpu import RUN as TINY_CPU
from training.stages import stage1_motion, stage3_expression
from training.stages.expression_model import ExpressionWeights
from training.stages.pictures.flow_fit import FlowFitSettings
from training.stages.pictures.generator import first_generator_config
from training.stages.pictures.picture_losses import PictureSettings
from training.stages.stage1_motion import MotionWeights

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
# Toy images are too small for MediaPipe's networks.
PICTURES: Final = PictureSettings(face_reader="perception")
FLOW_FIT: Final = FlowFitSettings(steps=2)
ALL_PICTURE_WEIGHTS: Final = {
    "phi": 0.05,
    "psi": 0.1,
    "vgg": 2.0,
    "adversarial": 0.02,
    "feature_matching": 0.1,
    "pixel": 10.0,
    "edges": 1.0,
    "gaze": 1.0,
    "lids": 1.0,
    "flow": 5.0,  # of networks with the appearance path `warp`
    "flow_local": 5.0,
    "flow_bending": 1.0,
}
TOY_RUN: Final = dataclasses.replace(
    TINY_CPU,
    networks="tiny",
    stages={
        **_TINY,
        "perception": StageRun(
            _TINY["perception"].settings.replace(cache_features=False),  # toy trunks are trained
            TRAINER,
        ),
        "stage1_motion": StageRun(
            _TINY["stage1_motion"].settings.replace(
                weights=MotionWeights(**ALL_PICTURE_WEIGHTS),
                pictures=PICTURES,
                trunk_rate_factor=0.01,
                cache_features=False,
                flow_fit=FLOW_FIT,
            ),
            TRAINER.replace(gradient_clip_norm=1.0),
        ),
        "stage3_expression": StageRun(
            _TINY["stage3_expression"].settings.replace(
                weights=ExpressionWeights(**ALL_PICTURE_WEIGHTS, decorrelation=3.0),
                pictures=PICTURES,
                memory_rows=7,  # two rows a step: the ring is overwritten from the fourth step on
                windows=ExpressionWindowSettings(window_frames=3),
                cache_features=False,
                flow_fit=FLOW_FIT,
            ),
            TRAINER,
        ),
    },
    logging=LOGGING,
)


def _changed(stage: str, **settings: Any) -> StageRun:
    run = TOY_RUN.stages[stage]
    return dataclasses.replace(run, settings=run.settings.replace(**settings))


TOY_CACHED_RUN: Final = dataclasses.replace(
    TOY_RUN,
    stages={
        **TOY_RUN.stages,
        "stage1_motion": _changed("stage1_motion", trunk_rate_factor=0.0, cache_features=True),
        "stage3_expression": _changed("stage3_expression", cache_features=True),
    },
)
CONFIG: Final = TrainingConfig(device="cpu", run="toy")
WARP_CONFIG: Final = CONFIG.replace(run="toy-warp", appearance_path="warp")
MEASURED_FRAMES: Final = 8  # in place of stages 1 and 3's


def install() -> None:
    """Replace `tiny_cpu` and `small_gpu` by the toy runs in this process."""
    torch.set_num_threads(1)
    presets = cast("dict[str, RunPreset]", RUN_PRESETS)
    presets["tiny_cpu"], presets["small_gpu"] = TOY_RUN, TOY_CACHED_RUN
    cast("dict[str, Any]", PRESETS)["tiny"] = TOY
    for stage in (stage1_motion, stage3_expression):
        vars(stage)["MEASURED_FRAMES"] = MEASURED_FRAMES


def publish_data_set(folder: Path, clips: Sequence[MadeClip] = CLIPS) -> UPath:
    """A root with a data set of these clips."""
    root, data_set = open_root(str(folder)), make_data_set(folder, clips)

    def copy(work: Path) -> BuildReport:
        for name in (INDEX_TABLE, STATISTICS_NAME):
            shutil.copy(data_set / name, work)
        return BuildReport({}, {})

    materialise(root, Recipe("dataset", "whole", "1", {}, {}), copy)
    return root


def make_root(folder: Path) -> UPath:
    """A root with a data set of textured 224 px crops and the parents of every stage."""
    with mock.patch.object(data_makers, "made_jpeg", textured_jpeg):
        root = publish_data_set(folder)
    for config, networks in ((CONFIG, TOY), (WARP_CONFIG, TOY_WARP)):
        for stage, parts in parent_parts(networks).items():
            publish_weights(root, stage, config.run, parts)
    return root


def publish_weights(root: UPath, stage: str, run: str, parts: Mapping[str, nn.Module]) -> None:
    """Publish untrained weights of a stage."""

    def write(work: Path) -> BuildReport:
        write_weights(work / WEIGHTS_NAME, collect(parts))
        return BuildReport({}, {})

    materialise(root, Recipe(stage, run, "1", {}, {}), write)


def parent_parts(networks: NetworkPreset = TOY) -> dict[str, dict[str, nn.Module]]:
    """Untrained networks by stage and part; the same at every call."""
    with torch.random.fork_rng([]):
        torch.manual_seed(11)
        motion, audio = MotionEncoder(networks.motion), AudioEncoder(networks.audio)
        return {
            "perception": {"perception": PerceptionNetwork(networks.perception)},
            "stage1_motion": {
                "appearance": AppearanceEncoder(networks.appearance),
                "motion.model": motion.model,
                "generator": trained_flow(Generator(first_generator_config(networks))),
                "discriminator": MultiScaleDiscriminator(networks.discriminator),
            },
            "stage2_lip": {"motion.to_mouth": motion.to_mouth, "audio.model": audio.model},
            "stage2_eye": {"motion.to_eye": motion.to_eye, "motion.eye_embed": motion.eye_embed},
            "stage2_pose": {
                "motion.to_headpose": motion.to_headpose,
                "motion.headpose_embed": motion.headpose_embed,
            },
        }


def textured_jpeg(clip: int, frame: int, kind: int) -> bytes:
    """A smooth pattern of colours, different for each image; 224 px.

    Without flat parts, in which rounding would decide the gradient of max-pooling and of L1 losses.
    """
    rng = np.random.default_rng([clip, frame, kind])
    colours = rng.integers(0, 256, (7, 7, 3)).astype(np.uint8)
    smooth = cv2.resize(colours, (224, 224), interpolation=cv2.INTER_CUBIC)
    return encode_jpeg(np.asarray(smooth, np.uint8), 95)


def toy_parents(networks: NetworkPreset = TOY) -> dict[str, StageWeights]:
    """The same weights as the parents of a stage."""
    return {stage: StageWeights(stage, collect(parts)) for stage, parts in parent_parts(networks).items()}


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
