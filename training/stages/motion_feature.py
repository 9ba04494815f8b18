"""The unified motion feature of stage 1, frozen: what every head of stage 2 is trained on."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from models.motion import MotionEncoder
from training.augmentation import MotionAugmentation, augment_motion
from training.data_frames import to_network_input
from training.stages.stage import Frozen, StageContext


class MotionFeature(nn.Module):
    """Stored crops to motion features, without gradients; the trunk stays in evaluation mode."""

    def __init__(self, motion: MotionEncoder, augmentation: MotionAugmentation | None = None) -> None:
        super().__init__()
        self.trunk = Frozen(motion.model)
        self.side_px = motion.config.trunk.image_side_px
        self.augmentation = augmentation

    @override
    def forward(self, frames: Tensor, seeds: Sequence[int]) -> Tensor:
        """The features of frames.

        Args:
            frames: uint8 [N, 3, H, W] RGB.
            seeds: N, what each picture's change is drawn from; used in training alone.

        Returns:
            [N, D], which no gradient goes through.
        """
        with torch.no_grad():
            pictures = to_network_input(frames, self.side_px)
            if self.training and self.augmentation is not None:
                pictures = augment_motion(pictures, seeds, self.augmentation)
            return self.trunk(pictures)


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
