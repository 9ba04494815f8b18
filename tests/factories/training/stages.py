"""Networks so small that a step takes milliseconds, and weights as earlier stages would have left them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from models.appearance import AppearanceConfig
from models.audio import AudioConfig
from models.discriminator import DiscriminatorConfig
from models.external.face_reconstruction import FaceReconstructionConfig
from models.external.vgg19 import VGG19Config
from models.generator import Generator, GeneratorConfig
from models.motion import MotionConfig, MotionEncoder
from models.perception import PerceptionConfig
from models.presets import NetworkPreset
from models.trunks.landmark_trunk import LandmarkTrunkConfig
from models.trunks.residual_trunk import ResidualTrunkConfig
from preprocessing.schema import CROP_SIDE_PX, LANDMARK_COUNT
from training.data.batches import RowFacts
from training.engine.stage_weights import StageWeights, collect
from training.stages.stage import LossModule, StageContext

TOY_SIDE_PX: Final = 32
TOY_TRUNK: Final = ResidualTrunkConfig(
    image_side_px=TOY_SIDE_PX,
    stem_channels=4,
    block_counts=(1, 1, 1, 1),
    group_count=2,
    width_per_group=32,
    stage_strides=(1, 2, 1, 1),
)
TOY_LANDMARK_TRUNK: Final = LandmarkTrunkConfig(
    image_side_px=TOY_SIDE_PX,
    stem_channels=8,
    middle_channels=8,
    channels=16,
    hourglass_depth=2,
    heat_map_count=8,
    summary_channels=2,
    feature_width=24,
    dropout=0.1,
)
TOY: Final = NetworkPreset(
    appearance=AppearanceConfig(trunk=TOY_TRUNK, map_channels=16, map_side_px=4),
    motion=MotionConfig(
        trunk=TOY_LANDMARK_TRUNK,
        head_width=16,
        lip_width=8,
        expression_width=5,
    ),
    audio=AudioConfig(
        block_counts=(1, 1, 1, 1),
        stage_channels=(8, 8, 8, 8),
        attention_width=4,
        feature_width=16,
        lip_width=8,
    ),
    generator=GeneratorConfig(
        style_width=153,
        start_side_px=4,
        channels=(16, 16, 16, 16),
        skip_count=2,
        appearance_width=128,
        motion_feature_width=24,
    ),
    discriminator=DiscriminatorConfig(layer_count=2, filters=8, largest_filters=16),
    vgg19=VGG19Config(block_channels=(4, 4, 4, 4, 4)),
    perception=PerceptionConfig(trunk=TOY_LANDMARK_TRUNK),
    face_reconstruction=FaceReconstructionConfig(trunk=TOY_TRUNK),
)
TOY_WARP: Final = dataclasses.replace(
    TOY, generator=dataclasses.replace(TOY.generator, appearance_path="warp")
)


def trained_flow(generator: Generator) -> Generator:
    """The generator with a flow other than zero, as after some steps: gradients reach all of it."""
    if generator.config.appearance_path == "warp":
        with torch.no_grad():
            generator.coarse_flow.out.weight.normal_(std=0.01)
            for head in generator.warps:
                head.get_parameter("conv.weight").normal_(std=0.01)
    return generator


def toy_weights(parts: Mapping[str, nn.Module], origin: str = "toy") -> StageWeights:
    """What a stage with these networks leaves."""
    return StageWeights(origin, collect(parts))


def toy_stage1() -> StageWeights:
    """Stage 1's motion trunk, random (torch's global generator)."""
    return toy_weights({"motion.model": MotionEncoder(TOY.motion).model}, "stage1_motion")


def context_on_stage1(stage1: StageWeights | None = None) -> StageContext:
    """A context of stage 2."""
    return StageContext(TOY, {"stage1_motion": stage1 or toy_stage1()})


def row_facts(
    rows: int,
    *,
    keys: Sequence[str] | None = None,
    frames: Sequence[int] | None = None,
    real: Sequence[bool] | None = None,
) -> RowFacts:
    """Facts of a batch; keys and frames differ from row to row unless given."""
    return RowFacts(
        keys=tuple(keys or [f"clip-{row}" for row in range(rows)]),
        frames=tuple(frames or range(rows)),
        epochs=(0,) * rows,
        seeds=tuple(1000 + row for row in range(rows)),
        real=tuple([True] * rows if real is None else real),
    )


def random_frames(*shape: int, seed: int = 0) -> Tensor:
    """uint8 [*shape, 3, S, S] of the toy networks' side."""
    generator = torch.Generator().manual_seed(seed)
    size = (*shape, 3, TOY_SIDE_PX, TOY_SIDE_PX)
    return torch.randint(0, 256, size, generator=generator).to(torch.uint8)


def random_landmarks(rows: int, seed: int = 7) -> Tensor:
    """float32 [rows, 478, 3] px, anywhere in the stored crops."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, LANDMARK_COUNT, 3, generator=generator) * CROP_SIDE_PX


def parts_with_gradients(module: LossModule) -> set[str]:
    """First two names of every parameter that has a gradient other than zero."""
    return {
        ".".join(name.split(".")[:2]) if name.startswith("motion_feature") else name.split(".")[0]
        for name, parameter in module.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().max() > 0
    }
