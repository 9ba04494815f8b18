"""L2CS-Net: gaze from an image of a face.

Layout of the published `L2CSNet_gaze360.pkl`: a ResNet-50 whose two linear heads predict yaw and pitch as
scores of 90 bins, 4 degrees each, from -180 on; an angle is the mean of the bins' lower edges under their
softmax. The file also has `fc_finetune`, which is not used.

Signs. The network was trained on Gaze360's angles, yaw > 0 towards the image's left and pitch > 0 up, of the
gaze (-cos p sin y, -sin p, -cos p cos y) with x to the right, y down, z away from the camera. With y up and z
towards the camera, as in this project, both angles change their sign. The authors' code calls the output of
the head named yaw "pitch"; that it is yaw follows from the order of Gaze360's labels there (yaw, pitch) and
from how the code draws the arrow: the first angle moves it sideways.

Shape letters: B samples, K bins.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.checkpoint_file import OfficialFile, load_checkpoint
from models.shapes import require_shape
from models.trunks.residual_trunk import ResidualTrunk, ResidualTrunkConfig

BIN_COUNT: Final = 90
BIN_WIDTH_DEGREES: Final = 4.0
FIRST_BIN_DEGREES: Final = -180.0
L2CS_FILE: Final = OfficialFile(
    names=("L2CSNet_gaze360.pkl",),
    unused=(r"fc_finetune\.(weight|bias)",),  # of earlier experiments, according to the authors' code
)


@dataclass(frozen=True)
class L2CSConfig:
    """The trunk; the defaults are the published network's."""

    trunk: ResidualTrunkConfig = ResidualTrunkConfig(image_side_px=448)


class L2CS(ResidualTrunk):
    """A residual trunk with two heads."""

    def __init__(self, config: L2CSConfig) -> None:
        super().__init__(config.trunk)
        self.fc_yaw_gaze = nn.Linear(config.trunk.output_channels, BIN_COUNT)
        self.fc_pitch_gaze = nn.Linear(config.trunk.output_channels, BIN_COUNT)

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Estimate gaze.

        Args:
            image: [B, 3, 448, 448] RGB of a face, scaled to [0, 1], minus `IMAGENET_MEAN`, divided by
                `IMAGENET_DEVIATION` (`models.external.vgg19`).

        Returns:
            [B, 2] float32 pitch, yaw in radians: pitch > 0 looks down, yaw > 0 looks to the image's right.
            Relative to the line from face to camera, not to the head: zero looks into the camera.

        Raises:
            ValueError: the image has another shape.
        """
        side_px = self.config.image_side_px
        require_shape("image", image, 3, side_px, side_px)
        pooled = functional.adaptive_avg_pool2d(super().forward(image), 1).flatten(1)
        pitch, yaw = (
            expected_angle_rad(self.fc_pitch_gaze(pooled)),
            expected_angle_rad(self.fc_yaw_gaze(pooled)),
        )
        return -torch.stack([pitch, yaw], dim=1)


def expected_angle_rad(scores: Tensor) -> Tensor:
    """Scores of bins [B, 90] -> expected angle [B] in radians, float32, with the sign of the file."""
    bins = torch.arange(BIN_COUNT, device=scores.device, dtype=torch.float32)
    expected_bin = (scores.float().softmax(dim=1) * bins).sum(dim=1)
    return (expected_bin * BIN_WIDTH_DEGREES + FIRST_BIN_DEGREES) * (math.pi / 180)


def load_l2cs(file: Path) -> L2CS:
    """The network with the weights of a file, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds more than weights, or is not L2CS-Net's of Gaze360.
    """
    network = L2CS(L2CSConfig())
    load_checkpoint(network, file, L2CS_FILE)
    return network.eval()
