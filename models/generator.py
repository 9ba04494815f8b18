"""The generator: an image from the appearance map and a style vector.

Shape letters: B samples, C channels, S side of the appearance map, D width of the style vector.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from typing_extensions import override

from models.modulated_convolution import NoiseMode, ReadOut, StyledConvolution
from models.shapes import require_shape

FULL_PRECISION_RESOLUTIONS: Final = 2
"""The first resolutions are computed in float32 under autocast too. StyleGAN2-ADA computes its four highest
resolutions in half precision, which leaves two of the released six; these cost 3 % of all multiplications."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes; the defaults are the released network's."""

    style_width: int = 2590
    start_side_px: int = 7
    channels: tuple[int, ...] = (512, 512, 512, 512, 256, 128)
    """One entry per resolution: the first at `start_side_px`, each next one at twice the side."""

    @property
    def image_side_px(self) -> int:
        """Side of the image."""
        return self.start_side_px * 2 ** (len(self.channels) - 1)

    @property
    def noise_sides_px(self) -> tuple[int, ...]:
        """Side of each layer's noise: one layer at the first resolution, two at each further one."""
        return tuple(
            self.start_side_px * 2 ** ((layer + 1) // 2) for layer in range(2 * len(self.channels) - 1)
        )


class Generator(nn.Module):
    """StyleGAN2 synthesis network with a map in place of the constant input, and the style as direct input.

    The released file also has a mapping network (`style.1-8`, 53.7 M parameters) and a constant input, which
    the released network does not use; they are not part of this one.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        width, first = config.style_width, config.channels[0]
        self.conv1 = StyledConvolution(first, first, width)
        self.to_rgb1 = ReadOut(first, width, upsample=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for before, after in pairwise(config.channels):
            self.convs.append(StyledConvolution(before, after, width, upsample=True))
            self.convs.append(StyledConvolution(after, after, width))
            self.to_rgbs.append(ReadOut(after, width, upsample=True))
        self.noises = nn.Module()
        for layer, side_px in enumerate(config.noise_sides_px):
            self.noises.register_buffer(f"noise_{layer}", torch.randn(1, 1, side_px, side_px))

    @override
    def forward(
        self, style: Tensor, appearance_map: Tensor, noise: NoiseMode | torch.Generator = "random"
    ) -> Tensor:
        """Generate images.

        Args:
            style: [B, 2590], the five codes in the order of `StyleVector`.
            appearance_map: [B, 512, 7, 7].
            noise: "random" draws new noise at every call; a `torch.Generator` is used for drawing (a CPU
                generator gives the same noise on every device); "stored" uses the buffers of the weights;
                "off" adds none.

        Returns:
            [B, 3, 224, 224] RGB in (-1, 1).

        Raises:
            ValueError: style or map has another shape, or they differ in B.
        """
        config = self.config
        require_shape("style", style, config.style_width)
        require_shape("appearance_map", appearance_map, config.channels[0], *[config.start_side_px] * 2)
        if len(style) != len(appearance_map):
            raise ValueError(
                f"need as many styles as appearance maps, got {len(style)} and {len(appearance_map)}"
            )
        noises = self._noises(noise, appearance_map)
        device = style.device.type
        with torch.autocast(device, enabled=False):
            maps = self.conv1(appearance_map.to(self.conv1.conv.weight.dtype), style, noises[0])
        image = self.to_rgb1(maps, style, None)
        for size, to_rgb in enumerate(self.to_rgbs):
            half = torch.is_autocast_enabled(device) and size + 1 >= FULL_PRECISION_RESOLUTIONS
            with torch.autocast(device, enabled=half):
                maps = self.convs[2 * size](maps, style, noises[2 * size + 1])
                maps = self.convs[2 * size + 1](maps, style, noises[2 * size + 2])
            image = to_rgb(maps, style, image)
        return torch.tanh(image)

    def _noises(self, noise: NoiseMode | torch.Generator, like: Tensor) -> list[Tensor | None]:
        """Noise of each layer [B or 1, 1, side, side], with the device and dtype of `like`."""
        sides_px = self.config.noise_sides_px
        if noise == "off":
            return [None] * len(sides_px)
        if noise == "stored":
            return [self.noises.get_buffer(f"noise_{layer}").to(like.dtype) for layer in range(len(sides_px))]
        source = noise if isinstance(noise, torch.Generator) else None
        device = like.device if source is None else source.device
        return [
            torch.randn(len(like), 1, side_px, side_px, generator=source, device=device).to(like)
            for side_px in sides_px
        ]
