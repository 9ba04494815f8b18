"""The motion encoder's trunk: a face alignment network (FAN) with one hourglass, reduced to one vector.

Modules have the names of the published FAN layout, so that the released motion file loads directly.

Shape letters: B samples, C channels, H, W rows and columns, L landmarks (heat maps), D width of the feature.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.shapes import require_shape


@dataclass(frozen=True)
class LandmarkTrunkConfig:
    """Widths of the trunk; the defaults are the released network's."""

    image_side_px: int = 224
    stem_channels: int = 64
    middle_channels: int = 128
    channels: int = 256
    hourglass_depth: int = 4
    heat_map_count: int = 68
    summary_channels: int = 1
    """Channels of the map that the heat maps are reduced to: its 28 x 28 values are the bottleneck."""
    feature_width: int = 512
    dropout: float = 0.5
    """On the skip branch of the hourglass."""

    @property
    def heat_map_side_px(self) -> int:
        """Side of the heat maps: the stem and one pooling each halve the image."""
        return -(-self.image_side_px // 2) // 2

    @property
    def summary_width(self) -> int:
        """Number of inputs of the linear layer that gives the feature."""
        return self.summary_channels * (-(-self.heat_map_side_px // 2)) ** 2


class LandmarkBlock(nn.Module):
    """Pre-activated residual block of three convolutions whose outputs are concatenated.

    ``[B, input, H, W] -> [B, output, H, W]``; 1/2, 1/4 and 1/4 of the output channels.
    """

    def __init__(self, input_channels: int, output_channels: int) -> None:
        super().__init__()
        half, quarter = output_channels // 2, output_channels // 4
        self.bn1 = nn.BatchNorm2d(input_channels)
        self.conv1 = nn.Conv2d(input_channels, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.downsample = (
            nn.Sequential(
                nn.BatchNorm2d(input_channels),
                nn.ReLU(),
                nn.Conv2d(input_channels, output_channels, 1, bias=False),
            )
            if input_channels != output_channels
            else nn.Identity()
        )

    @override
    def forward(self, maps: Tensor) -> Tensor:
        """Concatenate three consecutive convolutions and add the shortcut."""
        first = self.conv1(functional.relu(self.bn1(maps)))
        second = self.conv2(functional.relu(self.bn2(first)))
        third = self.conv3(functional.relu(self.bn3(second)))
        return torch.cat([first, second, third], dim=1) + self.downsample(maps)


class Hourglass(nn.Module):
    """Downsample the map `depth` times and upsample it again, with a skip branch at every resolution.

    ``[B, C, H, W] -> [B, C, H, W]``, H and W at least 2 ** depth. It pools with the maximum, as the released
    motion encoder does; common FAN implementations pool with the mean, which changes all of its outputs.
    """

    def __init__(self, channels: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.depth = depth
        self.dropout = nn.Dropout(dropout)
        for level in range(depth, 0, -1):
            for branch in ("b1", "b2", "b3"):
                self.add_module(f"{branch}_{level}", LandmarkBlock(channels, channels))
        self.b2_plus_1 = LandmarkBlock(channels, channels)

    @override
    def forward(self, maps: Tensor) -> Tensor:
        """Refine maps [B, C, H, W]."""
        return self._level(self.depth, maps)

    def _level(self, level: int, maps: Tensor) -> Tensor:
        skip = self.dropout(self.get_submodule(f"b1_{level}")(maps))
        low = self.get_submodule(f"b2_{level}")(functional.max_pool2d(maps, 2))
        low = self._level(level - 1, low) if level > 1 else self.b2_plus_1(low)
        low = self.get_submodule(f"b3_{level}")(low)
        # To the size of the skip branch, not by two: 7 is halved to 3.
        size = [int(skip.shape[2]), int(skip.shape[3])]
        return skip + functional.interpolate(low, size=size, mode="bilinear", align_corners=False)


class LandmarkTrunk(nn.Module):
    """FAN whose heat maps are reduced to one feature."""

    def __init__(self, config: LandmarkTrunkConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.conv1 = nn.Conv2d(3, config.stem_channels, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(config.stem_channels)
        self.conv2 = LandmarkBlock(config.stem_channels, config.middle_channels)
        self.conv3 = LandmarkBlock(config.middle_channels, config.middle_channels)
        self.conv4 = LandmarkBlock(config.middle_channels, channels)
        self.m0 = Hourglass(channels, config.hourglass_depth, config.dropout)
        self.top_m_0 = LandmarkBlock(channels, channels)
        self.conv_last0 = nn.Conv2d(channels, channels, 1)
        self.l0 = nn.Conv2d(channels, config.heat_map_count, 1)
        self.bn_end0 = nn.BatchNorm2d(channels)
        self.conv6 = nn.Conv2d(config.heat_map_count, config.summary_channels, 3, stride=2, padding=1)
        self.fc = nn.Linear(config.summary_width, config.feature_width)
        self.bn5 = nn.BatchNorm2d(config.heat_map_count)

    def heat_maps(self, image: Tensor) -> Tensor:
        """The heat maps before batch normalisation: [B, 3, 224, 224] -> [B, 68, 56, 56]."""
        maps = functional.relu(self.bn1(self.conv1(image)))
        maps = functional.max_pool2d(self.conv2(maps), 2)
        maps = self.top_m_0(self.m0(self.conv4(self.conv3(maps))))
        return self.l0(functional.relu(self.bn_end0(self.conv_last0(maps))))

    @override
    def forward(self, image: Tensor) -> Tensor:
        """The motion feature [B, 512] of images [B, 3, 224, 224], RGB in [-1, 1].

        Raises:
            ValueError: the image has another shape.
        """
        side_px = self.config.image_side_px
        require_shape("image", image, 3, side_px, side_px)
        summary = self.conv6(functional.relu(self.bn5(self.heat_maps(image))))
        return self.fc(functional.relu(summary.flatten(1)))
