"""The appearance encoder: identity and appearance from one image.

Shape letters: B samples, D width of the appearance code, C channels, S side of the map.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.shapes import require_shape
from models.trunks.residual_trunk import ResidualTrunk, ResidualTrunkConfig


@dataclass(frozen=True)
class AppearanceConfig:
    """Sizes of the trunk and of the map; the defaults are the released network's."""

    trunk: ResidualTrunkConfig = ResidualTrunkConfig(group_count=32, width_per_group=4)
    map_channels: int = 512
    map_side_px: int = 7


@dataclass(frozen=True)
class Appearance:
    """The appearance code [B, D], part of the style vector, and the map [B, C, S, S] for the generator."""

    code: Tensor
    map: Tensor


class AppearanceEncoder(nn.Module):
    """ResNeXt-50 (32x4d) trunk; its pooled features are the code, a 1x1 convolution of them the map.

    The released file also has two classifiers (`model.fc`, `fc`: ImageNet classes and 5995 identities), which
    are not needed for animation and not part of this network.
    """

    def __init__(self, config: AppearanceConfig) -> None:
        super().__init__()
        self.config = config
        self.model = ResidualTrunk(config.trunk)
        self.conv1x1 = nn.Conv2d(config.trunk.output_channels, config.map_channels, 1)

    @override
    def forward(self, image: Tensor) -> Appearance:
        """Encode the appearance.

        Args:
            image: [B, 3, 224, 224] RGB in [-1, 1] (`config.trunk.image_side_px` square).

        Returns:
            code [B, 2048] and map [B, 512, 7, 7] with the official preset.

        Raises:
            ValueError: the image has another shape.
        """
        side_px = self.config.trunk.image_side_px
        require_shape("image", image, 3, side_px, side_px)
        features = self.model(image)
        code = features.mean(dim=(2, 3))
        appearance_map = functional.adaptive_avg_pool2d(self.conv1x1(features), self.config.map_side_px)
        return Appearance(code, appearance_map)
