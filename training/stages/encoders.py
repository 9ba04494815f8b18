"""Encoders that earlier stages trained, frozen: the motion feature for stage 2, all of them for stage 3."""

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import override

from models.appearance import AppearanceEncoder
from models.audio import AudioEncoder
from models.motion import MotionEncoder
from storage.settings import Settings
from training.data.augmentation.pictures import MotionAugmentation, augment_motion
from training.data.batches import RowFacts
from training.data.frames import to_network_input
from training.stages.stage import FrozenNetwork, StageContext

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def never_compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Exclude a function that reads keys, frame numbers or seeds: each new value would recompile it."""
    return cast("Callable[Arguments, Result]", torch.compiler.disable(function))


class CachedTrunkSettings(Settings):
    """Settings of a stage on a frozen trunk."""

    augmentation: MotionAugmentation | None = Field(
        default=None,
        description="Of the frames. The paper mentions it for stage 1's motion branch only; unverified for "
        "stage 2. None: no augmentation",
    )
    cache_features: bool = Field(
        default=False,
        description="Compute the frozen trunk's features once instead of at every step; without augmentation",
    )

    @model_validator(mode="after")
    def _check_cache(self) -> "CachedTrunkSettings":
        if self.cache_features and self.augmentation is not None:
            raise ValueError("cache_features needs augmentation None: features of changed frames differ")
        return self


class MotionFeature(nn.Module):
    """Stored crops to stage 1's unified motion features; the trunk is frozen."""

    def __init__(self, motion: MotionEncoder, augmentation: MotionAugmentation | None = None) -> None:
        super().__init__()
        self.trunk = FrozenNetwork(motion.model)
        self.side_px = motion.config.trunk.image_side_px
        self.augmentation = augmentation

    @override
    def forward(self, frames: Tensor, facts: RowFacts) -> Tensor:
        """Features of P frames a row.

        Args:
            frames: uint8 [B, P, 3, H, W] RGB.
            facts: of the rows; seeds of the augmentation, which is applied in training only.

        Returns:
            [B, P, D], without gradient.
        """
        with torch.no_grad():
            return self.trunk(self._images(frames, facts)).unflatten(0, frames.shape[:2])

    @never_compiled
    def _images(self, frames: Tensor, facts: RowFacts) -> Tensor:
        images = to_network_input(frames.flatten(0, 1), self.side_px)
        if not self.training or self.augmentation is None:
            return images
        return augment_motion(images, frame_seeds(facts.seeds, frames.shape[1]), self.augmentation)


class FrozenEncoders(nn.Module):
    """E_app, E_mot's trunk and its lip, eye and pose heads, and E_aud, as stages 1 and 2 trained them.

    appearance: image -> `Appearance`; trunk: image -> unified motion feature [B, 512];
    lip: motion feature -> lip feature [B, 512]; eye: -> code [B, 6]; pose: -> code [B, 6];
    audio: mel window [B, 1, 80, 20] -> lip feature [B, 512].
    """

    def __init__(self, context: StageContext) -> None:
        super().__init__()
        networks, parents = context.networks, context.parents
        appearance, motion = AppearanceEncoder(networks.appearance), MotionEncoder(networks.motion)
        audio = AudioEncoder(networks.audio)
        parents["stage1_motion"].load_into("appearance", appearance)
        parents["stage1_motion"].load_into("motion.model", motion.model)
        parents["stage2_lip"].load_into("motion.to_mouth", motion.to_mouth)
        parents["stage2_lip"].load_into("audio.model", audio.model)
        for part in ("to_eye", "eye_embed"):
            parents["stage2_eye"].load_into(f"motion.{part}", motion.get_submodule(part))
        for part in ("to_headpose", "headpose_embed"):
            parents["stage2_pose"].load_into(f"motion.{part}", motion.get_submodule(part))
        self.appearance = FrozenNetwork(appearance)
        self.trunk = FrozenNetwork(motion.model)
        self.lip = FrozenNetwork(motion.to_mouth)
        self.eye = FrozenNetwork(nn.Sequential(motion.to_eye, motion.eye_embed))
        self.pose = FrozenNetwork(nn.Sequential(motion.to_headpose, motion.headpose_embed))
        self.audio = FrozenNetwork(audio.model)


def motion_encoder_on_stage1(context: StageContext) -> MotionEncoder:
    """A motion encoder with stage 1's trunk and untrained heads.

    Raises:
        ValueError: stage 1's weights lack the trunk or do not fit it.
    """
    motion = MotionEncoder(context.networks.motion)
    context.parents["stage1_motion"].load_into("motion.model", motion.model)
    return motion


def frame_seeds(seeds: Sequence[int], frames: int) -> list[int]:
    """A seed for each of `frames` frames of every row, rows in order; the first frame has the row's own.

    A row's seed has 63 bits (`RowFacts.seeds`); the frame's number is put above them, so all differ.
    """
    return [seed | frame << 63 for seed in seeds for frame in range(frames)]
