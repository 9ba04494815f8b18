"""A small network that says what the labellers say: landmarks, head pose, gaze, blinks.

Ours: where no outside network is configured it stands in for the paper's φ (a 3-D face reconstruction
network), ψ (an emotion network) and 𝒢 (a gaze estimator), none of which may be shipped.

Shape letters: B samples, D width of a feature.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.residual_trunk import ResidualTrunk, ResidualTrunkConfig
from models.shapes import require_shape


@dataclass(frozen=True)
class PerceptionConfig:
    """Sizes; the defaults are for 224 px."""

    trunk: ResidualTrunkConfig = ResidualTrunkConfig(block_counts=(2, 2, 2, 2), stem_channels=32)
    map_channels: int = 64
    feature_width: int = 256
    landmark_count: int = 478


@dataclass(frozen=True)
class Perceived:
    """What it says of pictures.

    feature [B, D]: φ; shape_feature [B, D]: ψ, what the landmarks are read from; landmarks [B, 478, 2]:
    x to the right, y down, -1 to 1 from edge to edge of the picture; pose [B, 6]: pitch, yaw, roll, x, y,
    z in the units of the stage that trained it; gaze [B, 2]: pitch, yaw in rad, in the head; blink [B, 2]:
    image-left, image-right eye, 0 open, 1 shut.
    """

    feature: Tensor
    shape_feature: Tensor
    landmarks: Tensor
    pose: Tensor
    gaze: Tensor
    blink: Tensor


class PerceptionNetwork(nn.Module):
    """Residual trunk whose last map is read place by place, and a head for every kind of label."""

    def __init__(self, config: PerceptionConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = ResidualTrunk(config.trunk)
        # No pooling: where things are is what the labels tell.
        self.reduce = nn.Conv2d(config.trunk.output_channels, config.map_channels, 1)
        places = config.map_channels * config.trunk.output_side_px**2
        self.to_feature = nn.Linear(places, config.feature_width)
        self.to_shape = nn.Linear(places, config.feature_width)
        self.landmarks = nn.Linear(config.feature_width, config.landmark_count * 2)
        self.pose = nn.Linear(config.feature_width, 6)
        self.gaze = nn.Linear(config.feature_width, 2)
        self.blink = nn.Linear(config.feature_width, 2)

    @override
    def forward(self, image: Tensor) -> Perceived:
        """Look at images [B, 3, side, side], RGB in [-1, 1].

        Raises:
            ValueError: the image has another shape.
        """
        side_px = self.config.trunk.image_side_px
        require_shape("image", image, 3, side_px, side_px)
        places = functional.relu(self.reduce(self.trunk(image))).flatten(1)
        feature = functional.relu(self.to_feature(places))
        shape_feature = functional.relu(self.to_shape(places))
        return Perceived(
            feature=feature,
            shape_feature=shape_feature,
            landmarks=self.landmarks(shape_feature).unflatten(1, (self.config.landmark_count, 2)),
            pose=self.pose(feature),
            gaze=self.gaze(feature),
            blink=self.blink(feature),
        )
