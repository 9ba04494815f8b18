"""The residual trunk of the appearance encoder (ResNeXt-50) and of the 3-D reconstruction (ResNet-50).

Modules have torchvision's names and shapes, so that its weights and the published ones load. Unlike in
torchvision, widths and strides are settings, so that a tiny trunk can be built.

Shape letters: B samples, C channels.
"""

from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck
from typing_extensions import override

from models.checkpoint_file import OfficialFile

RESNEXT50_FILE: Final = OfficialFile(
    names=("resnext50_32x4d-7cdf4587.pth",),
    unused=(r"fc\.(weight|bias)",),  # the classifier of ImageNet
)
"""torchvision's `resnext50_32x4d`; the trunk reads RGB in [-1, 1], where torchvision's reads ImageNet's
normalisation, about twice as wide: batch normalisation adapts in training."""


@dataclass(frozen=True)
class ResidualTrunkConfig:
    """Widths and depths; the defaults are ResNet-50's."""

    image_side_px: int = 224
    stem_channels: int = 64
    block_counts: tuple[int, int, int, int] = (3, 4, 6, 3)
    group_count: int = 1
    width_per_group: int = 64
    """As in torchvision: channels per group in the first stage of a trunk with 64 stem channels."""
    stage_strides: tuple[int, int, int, int] = (1, 2, 2, 2)

    @property
    def output_channels(self) -> int:
        """Channels of the last stage."""
        return self.stem_channels * 8 * Bottleneck.expansion

    @property
    def output_side_px(self) -> int:
        """Side of the last stage's map."""
        side_px = -(-self.image_side_px // 4)
        for stride in self.stage_strides:
            side_px = -(-side_px // stride)
        return side_px


class ResidualTrunk(nn.Module):
    """Bottleneck residual network without a classifier.

    ``[B, 3, side, side] -> [B, output_channels, output_side, output_side]``; the last stage's map,
    before pooling. 224 px give [B, 2048, 7, 7].
    """

    def __init__(self, config: ResidualTrunkConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(3, config.stem_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem_channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._stage(config.stem_channels, stage=0)
        self.layer2 = self._stage(config.stem_channels * 4, stage=1)
        self.layer3 = self._stage(config.stem_channels * 8, stage=2)
        self.layer4 = self._stage(config.stem_channels * 16, stage=3)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(self, input_channels: int, stage: int) -> nn.Sequential:
        """The blocks of one stage; the first one changes size and channels."""
        config = self.config
        planes = config.stem_channels * 2**stage
        output_channels = planes * Bottleneck.expansion
        stride = config.stage_strides[stage]
        shortcut = nn.Sequential(
            nn.Conv2d(input_channels, output_channels, 1, stride=stride, bias=False),
            nn.BatchNorm2d(output_channels),
        )
        groups, width = config.group_count, config.width_per_group
        first = Bottleneck(input_channels, planes, stride, shortcut, groups, width)
        rest = [
            Bottleneck(output_channels, planes, 1, None, groups, width)
            for _ in range(1, config.block_counts[stage])
        ]
        return nn.Sequential(first, *rest)

    @override
    def forward(self, image: Tensor) -> Tensor:
        """The last stage's map [B, C, H, W] of images [B, 3, H, W]."""
        stem = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        return self.layer4(self.layer3(self.layer2(self.layer1(stem))))
