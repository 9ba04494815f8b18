"""The generator's `warp` path: the portrait and its features, moved by flows and added to the decoder.

Ours, a departure from the released layout, in which identity reaches the generator through a small map and a
vector alone. With few training steps or few identities those do not carry the appearance of a new person.

The coarse flow depends on the motion codes and on the portrait's own motion feature, since both ends of the
motion must be known; each resolution of the decoder refines it.

Shape letters: B samples, C channels, H, W rows, columns, D width of the motion feature.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

HIDDEN: Final = 256
SMALLEST_DEVIATION: Final = 1e-3  # of a motion feature's dimension that is divided by
REFINEMENT_BOUND: Final = 0.2
"""Largest displacement by which one resolution refines the flow, in units of half a side; ours."""
SMOOTHING_PX: Final = 5
SMOOTHING_PASSES: Final = 2


@dataclass(frozen=True)
class Portrait:
    """The image [B, 3, S, S], RGB in [-1, 1], and its unified motion feature [B, D]."""

    image: Tensor
    motion_feature: Tensor


class Standardise(nn.Module):
    """Subtract a mean and multiply by a factor per dimension; both are buffers that `measure` sets.

    Without it the flow is hardly learned: the motion feature varies by a third of its mean.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(width))
        self.factor = nn.Buffer(torch.ones(width))

    @torch.no_grad()
    def measure(self, rows: Tensor, *, to_unit_variance: bool) -> None:
        """Set mean and factor from rows [N, D]; without `to_unit_variance`, the factor stays 1."""
        self.mean.copy_(rows.mean(dim=0))
        if to_unit_variance:
            self.factor.copy_(1.0 / rows.std(dim=0, correction=0).clamp_min(SMALLEST_DEVIATION))

    @property
    def is_measured(self) -> bool:
        """Whether the buffers were set; before, rows stay as they are."""
        return bool(self.mean.any()) or not bool((self.factor == 1).all())

    @override
    def forward(self, rows: Tensor) -> Tensor:
        """Standardise rows [B, D]."""
        return (rows - self.mean) * self.factor


class CoarseFlow(nn.Module):
    """The flow at the smallest warped resolution, by a network of three layers; zero before training."""

    def __init__(self, motion_width: int, feature_width: int, side_px: int) -> None:
        super().__init__()
        self.side_px = side_px
        self.motion, self.portrait = Standardise(motion_width), Standardise(feature_width)
        self.from_motion = nn.Linear(motion_width, HIDDEN)
        self.from_portrait = nn.Linear(feature_width, HIDDEN, bias=False)
        self.hidden = nn.Linear(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, 2 * side_px**2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    @override
    def forward(self, motion: Tensor, motion_feature: Tensor) -> Tensor:
        """Flow [B, 2, side, side], x and y in units of half a side.

        Args:
            motion: [B, motion width], the style's motion codes, of the image to generate.
            motion_feature: [B, D], of the portrait.
        """
        first = self.from_motion(self.motion(motion)) + self.from_portrait(self.portrait(motion_feature))
        hidden = functional.leaky_relu(self.hidden(functional.leaky_relu(first, 0.2)), 0.2)
        return self.out(hidden).float().unflatten(1, (2, self.side_px, self.side_px))


class PortraitPyramid(nn.Module):
    """Feature maps of the portrait at the generator's largest resolutions.

    ``[B, 3, S, S] -> [B, C_i, S / 2 ** i, S / 2 ** i]``, smallest first.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        """`channels` of each map, smallest resolution first."""
        super().__init__()
        largest_first = list(channels)[::-1]
        self.stem = nn.Conv2d(3, largest_first[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in pairwise(largest_first)
        )
        self.out = nn.ModuleList(nn.Conv2d(count, count, 3, padding=1) for count in largest_first)

    @override
    def forward(self, portrait: Tensor) -> list[Tensor]:
        """The maps of portraits [B, 3, S, S], RGB in [-1, 1]."""
        maps = functional.leaky_relu(self.stem(portrait), 0.2)
        pyramid = [self.out[0](maps)]
        for down, out in zip(self.down, list(self.out)[1:], strict=True):
            maps = functional.leaky_relu(down(maps), 0.2)
            pyramid.append(out(maps))
        return pyramid[::-1]


class WarpHead(nn.Module):
    """A refinement of the flow, and a gate, from the decoder's maps.

    Both start constant: the first pictures show the portrait unmoved.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 3, 3, padding=1)
        nn.init.zeros_(self.conv.weight)
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)

    @override
    def forward(self, maps: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Flow and gate.

        Args:
            maps: [B, C, H, W].
            flow: of a smaller or the same resolution, [B, 2, H / n, W / n].

        Returns:
            Flow [B, 2, H, W], x and y in units of half a side, and gate [B, 1, H, W] in (0, 1).
        """
        output = self.conv(maps).float()
        size = [int(maps.shape[2]), int(maps.shape[3])]
        upsampled = functional.interpolate(flow, size, mode="bilinear", align_corners=False)
        refined = upsampled + smooth(REFINEMENT_BOUND * torch.tanh(output[:, :2]))
        return refined, torch.sigmoid(output[:, 2:])


def smooth(flow: Tensor) -> Tensor:
    """A flow [B, 2, H, W] averaged twice over 5 x 5 pixels, edges repeated.

    Unsmoothed, the refinements tear the outlines of people unlike those trained on.
    """
    for _ in range(SMOOTHING_PASSES):
        margin = SMOOTHING_PX // 2
        flow = functional.avg_pool2d(functional.pad(flow, (margin,) * 4, mode="replicate"), SMOOTHING_PX, 1)
    return flow


def warp_by_flow(maps: Tensor, flow: Tensor) -> Tensor:
    """Sample maps [B, C, H, W] at each pixel's position plus its flow [B, 2, H, W]; edges are repeated.

    Positions keep the flow's precision: bfloat16 has steps of a quarter pixel at 64 px.
    """
    height, width = flow.shape[-2:]
    x = (torch.arange(width, device=flow.device, dtype=flow.dtype) * 2 + 1) / width - 1
    y = (torch.arange(height, device=flow.device, dtype=flow.dtype) * 2 + 1) / height - 1
    grid = torch.stack([flow[:, 0] + x, flow[:, 1] + y[:, None]], dim=-1)
    sampled = functional.grid_sample(
        maps.to(grid.dtype), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled.to(maps.dtype)
