"""The generator: an image from the appearance map and a style vector.

Shape letters: B samples, C channels, S side of the appearance map, D width of the style vector.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from models.modulated_convolution import NoiseMode, ReadOut, StyledConvolution, autocast, is_autocast_enabled
from models.portrait_warp import CoarseFlow, Portrait, PortraitPyramid, WarpHead, warp_by_flow
from models.shapes import require_shape

FULL_PRECISION_RESOLUTIONS: Final = 2
"""The first resolutions are computed in float32 under autocast too. StyleGAN2-ADA computes its four highest
resolutions in half precision, which leaves two of the released six; these cost 3 % of all multiplications."""
START_LOGIT: Final = 2.0
"""Of the share of the portrait in the first images of the `warp` path: .88."""
START_CONTRAST: Final = 0.1
"""Factor on the `warp` path's first RGB weights: unit-variance ones saturate the tanh at once."""
AppearancePath = Literal["map", "warp"]


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes; the defaults are the released network's."""

    style_width: int = 2590
    start_side_px: int = 7
    channels: tuple[int, ...] = (512, 512, 512, 512, 256, 128)
    """One entry per resolution: the first at `start_side_px`, each next one at twice the side."""
    appearance_path: AppearancePath = "map"
    """How identity reaches the image: by the appearance map and code alone, as released, or also by the
    portrait and its features, warped into the `skip_count` largest resolutions (ours)."""
    skip_count: int = 3
    appearance_width: int = 2048
    """Of the style's first code. The path `warp` computes its flow from the others, the motion codes."""
    motion_feature_width: int = 512
    """Of the portrait's motion feature, read by the path `warp` only."""

    def __post_init__(self) -> None:
        upsampled = len(self.channels) - 1
        if self.appearance_path == "warp" and not 1 <= self.skip_count <= upsampled:
            raise ValueError(f"skip_count must be 1 to {upsampled}, got {self.skip_count}")
        if self.appearance_path == "warp" and self.appearance_width >= self.style_width:
            raise ValueError(
                f"appearance_width must be below style_width {self.style_width}, got {self.appearance_width}"
            )

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


@dataclass(frozen=True)
class Synthesis:
    """Images [B, 3, S, S], RGB in (-1, 1), and how the portrait was warped.

    flow [B, 2, S, S] in units of half a side; None with the appearance path `map`.
    """

    image: Tensor
    flow: Tensor | None


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
        if config.appearance_path == "warp":
            skipped = config.channels[-config.skip_count :]
            self.pyramid = PortraitPyramid(skipped)
            smallest_px = config.image_side_px // 2 ** (config.skip_count - 1)
            motion_width = width - config.appearance_width
            self.coarse_flow = CoarseFlow(motion_width, config.motion_feature_width, smallest_px)
            self.warps = nn.ModuleList(WarpHead(channels) for channels in skipped)
            self.blend = nn.Conv2d(skipped[-1], 1, 3, padding=1)
            assert self.blend.bias is not None
            nn.init.constant_(self.blend.bias, START_LOGIT)
            for read_out in (self.to_rgb1, *self.to_rgbs):
                with torch.no_grad():
                    read_out.get_parameter("conv.weight").mul_(START_CONTRAST)
        self.noises = nn.Module()
        for layer, side_px in enumerate(config.noise_sides_px):
            self.noises.register_buffer(f"noise_{layer}", torch.randn(1, 1, side_px, side_px))

    @override
    def forward(
        self,
        style: Tensor,
        appearance_map: Tensor,
        noise: NoiseMode | torch.Generator = "random",
        *,
        portrait: Portrait | None = None,
    ) -> Tensor:
        """Generate images.

        Args:
            style: [B, 2590], the five codes in the order of `StyleVector`.
            appearance_map: [B, 512, 7, 7].
            noise: "random" draws new noise at every call; a `torch.Generator` is used for drawing (a CPU
                generator gives the same noise on every device); "stored" uses the buffers of the weights;
                "off" adds none.
            portrait: the image that the map was computed from, B of them. Read by the appearance path `warp`
                only.

        Returns:
            [B, 3, 224, 224] RGB in (-1, 1).

        Raises:
            ValueError: style, map or portrait has another shape, or they differ in B.
        """
        return self.synthesise(style, appearance_map, noise, portrait=portrait).image

    def synthesise(
        self,
        style: Tensor,
        appearance_map: Tensor,
        noise: NoiseMode | torch.Generator = "random",
        *,
        portrait: Portrait | None = None,
    ) -> Synthesis:
        """Images as `forward` returns them, with the flow that the portrait was warped by."""
        config = self.config
        require_shape("style", style, config.style_width)
        require_shape("appearance_map", appearance_map, config.channels[0], *[config.start_side_px] * 2)
        if len(style) != len(appearance_map):
            raise ValueError(
                f"need as many styles as appearance maps, got {len(style)} and {len(appearance_map)}"
            )
        noises = self._noises(noise, appearance_map)
        device = style.device.type
        with autocast(device, enabled=False):
            maps = self.conv1(appearance_map.to(self.conv1.conv.weight.dtype), style, noises[0])
        image = self.to_rgb1(maps, style, None)
        warping = PortraitWarping(self, style, portrait) if config.appearance_path == "warp" else None
        for size, to_rgb in enumerate(self.to_rgbs):
            half = is_autocast_enabled(device) and size + 1 >= FULL_PRECISION_RESOLUTIONS
            with autocast(device, enabled=half):
                maps = self.convs[2 * size](maps, style, noises[2 * size + 1])
                if warping is not None:
                    maps = warping.add_to(maps, size)
                maps = self.convs[2 * size + 1](maps, style, noises[2 * size + 2])
            image = to_rgb(maps, style, image)
        image = torch.tanh(image)
        return Synthesis(image, None) if warping is None else warping.blend_with(image, maps)

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


class PortraitWarping:
    """One forward pass of the `warp` path: the portrait's maps, and the flow so far."""

    def __init__(self, generator: Generator, style: Tensor, portrait: Portrait | None) -> None:
        side_px = generator.config.image_side_px
        if portrait is None:
            raise ValueError("a generator with the appearance path 'warp' needs the portrait, got None")
        require_shape("portrait", portrait.image, 3, side_px, side_px)
        width = generator.config.motion_feature_width
        require_shape("portrait.motion_feature", portrait.motion_feature, width)
        images, features = len(portrait.image), len(portrait.motion_feature)
        if not images == features == len(style):
            raise ValueError(
                f"need as many portraits as styles, got {images} images, {features} motion features and "
                f"{len(style)} styles"
            )
        self._generator = generator
        self._image = portrait.image
        self._pyramid = generator.pyramid(portrait.image)
        self._first = len(generator.to_rgbs) - generator.config.skip_count
        motion = style[:, generator.config.appearance_width :]
        self._flow: Tensor = generator.coarse_flow(motion, portrait.motion_feature)

    def add_to(self, maps: Tensor, size: int) -> Tensor:
        """Maps [B, C, H, W] of the resolution number `size`, with the portrait's warped maps added."""
        level = size - self._first
        if level < 0:
            return maps
        flow, gate = self._generator.warps[level](maps, self._flow)
        self._flow = flow
        return maps + gate.to(maps.dtype) * warp_by_flow(self._pyramid[level], flow)

    def blend_with(self, image: Tensor, maps: Tensor) -> Synthesis:
        """The image [B, 3, S, S] blended with the warped portrait by a mask from the last maps."""
        warped = warp_by_flow(self._image, self._flow)
        mask = torch.sigmoid(self._generator.blend(maps).float())
        return Synthesis(mask * warped + (1 - mask) * image, self._flow)
