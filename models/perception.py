"""A small network that predicts the labels: landmarks, head pose, gaze, blinks.

Ours: where no pretrained network is configured, it replaces the paper's φ (a 3-D face reconstruction
    network), ψ (an
emotion network) and 𝒢 (a gaze estimator), none of which may be redistributed.

Shape letters: B samples, D width of a feature.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.trunks.landmark_trunk import LandmarkTrunkConfig
from models.trunks.mesh_trunk import TrunkConfig, build_trunk


@dataclass(frozen=True)
class PerceptionConfig:
    """Sizes; the trunk has the motion encoder's layout, so that one can initialise the other."""

    trunk: TrunkConfig = LandmarkTrunkConfig()
    landmark_count: int = 478


@dataclass(frozen=True)
class Perceived:
    """Predictions for images.

    feature [B, D]: φ; shape_feature [B, D]: ψ, from which the landmarks are computed; landmarks [B, 478, 2]:
    x to the right, y down, -1 to 1 from edge to edge of the image; pose [B, 6]: pitch, yaw, roll, x, y, z in
    the units of the stage that trained it; gaze [B, 2]: pitch, yaw in rad, relative to the head; blink [B,
    2]: image-left, image-right eye, 0 open, 1 shut.
    """

    feature: Tensor
    shape_feature: Tensor
    landmarks: Tensor
    pose: Tensor
    gaze: Tensor
    blink: Tensor


class PerceptionNetwork(nn.Module):
    """A face alignment trunk with one head per kind of label."""

    def __init__(self, config: PerceptionConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = build_trunk(config.trunk)
        width = config.trunk.feature_width
        self.to_shape = nn.Linear(width, width)
        self.landmarks = nn.Linear(width, config.landmark_count * 2)
        self.pose = nn.Linear(width, 6)
        self.gaze = nn.Linear(width, 2)
        self.blink = nn.Linear(width, 2)

    @override
    def forward(self, image: Tensor) -> Perceived:
        """Predictions for images [B, 3, side, side], RGB in [-1, 1].

        Raises:
            ValueError: the image has another shape.
        """
        return self.read(self.trunk(image))

    def read(self, feature: Tensor) -> Perceived:
        """Predictions from the trunk's features [B, D]."""
        hidden = functional.relu(feature)
        shape_feature = functional.relu(self.to_shape(hidden))
        return Perceived(
            feature=feature,
            shape_feature=shape_feature,
            landmarks=self.landmarks(shape_feature).unflatten(1, (self.config.landmark_count, 2)),
            pose=self.pose(hidden),
            gaze=self.gaze(hidden),
            blink=torch.sigmoid(self.blink(hidden)),
        )
