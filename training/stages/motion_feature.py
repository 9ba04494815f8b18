"""The unified motion feature of stage 1, frozen: what every head of stage 2 is trained on."""

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from models.motion import MotionEncoder
from training.data.augmentation import MotionAugmentation, augment_motion
from training.data.batches import RowFacts
from training.data.frames import to_network_input
from training.stages.stage import Frozen, StageContext

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def never_compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """For what reads keys, frame numbers or seeds: compiled, it would be compiled anew at every step."""
    return cast("Callable[Arguments, Result]", torch.compiler.disable(function))


class MotionFeature(nn.Module):
    """Stored crops to motion features, without gradients; the trunk stays in evaluation mode."""

    def __init__(self, motion: MotionEncoder, augmentation: MotionAugmentation | None = None) -> None:
        super().__init__()
        self.trunk = Frozen(motion.model)
        self.side_px = motion.config.trunk.image_side_px
        self.augmentation = augmentation

    @override
    def forward(self, frames: Tensor, facts: RowFacts) -> Tensor:
        """The features of frames, P a row.

        Args:
            frames: uint8 [B, P, 3, H, W] RGB.
            facts: of the rows; what the pictures' changes are drawn from, in training alone.

        Returns:
            [B, P, D], which no gradient goes through.
        """
        with torch.no_grad():
            return self.trunk(self._pictures(frames, facts)).unflatten(0, frames.shape[:2])

    @never_compiled
    def _pictures(self, frames: Tensor, facts: RowFacts) -> Tensor:
        pictures = to_network_input(frames.flatten(0, 1), self.side_px)
        if not self.training or self.augmentation is None:
            return pictures
        return augment_motion(pictures, seeds_of_pictures(facts.seeds, frames.shape[1]), self.augmentation)


def motion_encoder_on_stage1(context: StageContext) -> MotionEncoder:
    """A motion encoder with stage 1's trunk and heads that nothing has trained.

    Raises:
        ValueError: stage 1's weights lack the trunk or do not fit it.
    """
    motion = MotionEncoder(context.networks.motion)
    context.parents["stage1_motion"].load_into("motion.model", motion.model)
    return motion


def seeds_of_pictures(seeds: Sequence[int], pictures: int) -> list[int]:
    """A seed for each of the `pictures` of every row, rows in order; the first picture has the row's own.

    A row's seed has 63 bits (`RowFacts.seeds`), so the picture's number above them makes no two alike.
    """
    return [seed | picture << 63 for seed in seeds for picture in range(pictures)]
