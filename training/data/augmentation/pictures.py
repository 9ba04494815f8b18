"""Augmentation of colour and geometry, on the device.

Parameters are drawn on the host from each row's seed (`RowFacts.seeds`), which stands for (seed, epoch,
sample): a row is augmented in the same way whatever the batch, rank and device, so a resumed run sees the
same images. The images of a batch are then changed together.

Colour is one 3 x 4 matrix per image: brightness, contrast about the image's mean luma, saturation, and hue as
a rotation of the chroma plane (YIQ), which unlike a rotation in HSV keeps luma; clamped once, at the end.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from storage.settings import Settings

_LUMA: Final = (0.299, 0.587, 0.114)  # Rec. 601
_YIQ: Final = np.array([_LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])  # NTSC, FCC 1953
_MOTION_STREAM: Final = 1
_WINDOW_STREAM: Final = 2
_ALIKE_STREAM: Final = 4  # 3: `training.data.augmentation.mirroring`
_CORNERS: Final = np.array(
    [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
)  # x, y; clockwise in the image
Border = Literal["border", "zeros"]


class ColourJitter(Settings):
    """Factors are drawn from 1 - value to 1 + value, hue from -value to value turns.

    Defaults: found unused in the official code; unverified as the paper's.
    """

    brightness: float = Field(default=0.5, ge=0, le=1)
    contrast: float = Field(default=0.4, ge=0, le=1)
    saturation: float = Field(default=0.4, ge=0, le=1)
    hue_turns: float = Field(default=0.4, ge=0, le=0.5)


class MotionAugmentation(Settings):
    """Stage 1, the input of E_mot: changes the appearance and keeps the motion.

    Defaults: found unused in the official code; unverified as the paper's.
    """

    colour: ColourJitter = ColourJitter()
    perspective: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Maximum inward shift of a corner in x and y, as a share of half a side",
    )
    perspective_probability: float = Field(
        default=0.9, ge=0, le=1, description="Probability of a perspective change"
    )
    outside: Border = Field(default="border", description="Fill beyond the crop; zeros is mid-grey")


class WindowAugmentation(Settings):
    """Stage 3, the K frames of an expression window. Sizes are ours: the paper gives none."""

    colour: ColourJitter = ColourJitter()
    rotation_degrees: float = Field(
        default=15.0, ge=0, le=180, description="Maximum rotation in either direction"
    )
    scale: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Scale is drawn from 1 - scale to 1 + scale, uniformly in the logarithm",
    )
    # "Each augmented": drawn per frame, so that the mean over the window cancels the effect of augmentation.
    same_for_whole_window: bool = False
    outside: Border = "border"


def augment_motion(frames: Tensor, seeds: Sequence[int], settings: MotionAugmentation) -> Tensor:
    """Change colour and perspective.

    Args:
        frames: float [B, 3, H, W] RGB in [-1, 1].
        seeds: B, `RowFacts.seeds`.
        settings: ranges of the changes.

    Returns:
        The same shape, dtype and range.
    """
    _require_frames(frames, 4, seeds)
    rngs = [np.random.default_rng([_MOTION_STREAM, seed]) for seed in seeds]
    factors = np.stack([_draw_colour(rng, settings.colour) for rng in rngs])
    maps = np.stack([_draw_perspective(rng, settings) for rng in rngs])
    return change_colour(warp(frames, maps, settings.outside), factors)


def augment_window(frames: Tensor, seeds: Sequence[int], settings: WindowAugmentation) -> Tensor:
    """Rotate, scale and recolour the frames of windows.

    Args:
        frames: float [B, K, 3, H, W] RGB in [-1, 1].
        seeds: B, `RowFacts.seeds`.
        settings: ranges of the changes, and whether a window's frames share one draw.

    Returns:
        The same shape, dtype and range.
    """
    _require_frames(frames, 5, seeds)
    count = frames.shape[1]
    factors, maps = list[NDArray[np.float64]](), list[NDArray[np.float64]]()
    for seed in seeds:
        rng = np.random.default_rng([_WINDOW_STREAM, seed])
        draws = 1 if settings.same_for_whole_window else count
        pairs = [(_draw_colour(rng, settings.colour), _draw_similarity(rng, settings)) for _ in range(draws)]
        for colour, similarity in pairs * (count // draws):
            factors.append(colour)
            maps.append(similarity)
    flat = warp(frames.flatten(0, 1), np.stack(maps), settings.outside)
    return change_colour(flat, np.stack(factors)).reshape(frames.shape)


def recolour_alike(frames: Tensor, seeds: Sequence[int], settings: ColourJitter) -> Tensor:
    """Change the colour of all frames [B, P, 3, H, W] of a row in the same way, as of one picture."""
    _require_frames(frames, 5, seeds)
    factors = [_draw_colour(np.random.default_rng([_ALIKE_STREAM, seed]), settings) for seed in seeds]
    count, width = frames.shape[1], frames.shape[-1]
    side_by_side = frames.permute(0, 2, 3, 1, 4).flatten(3)  # [B, 3, H, P W]: one mean, one contrast
    changed = change_colour(side_by_side, np.stack(factors))
    return changed.unflatten(3, (count, width)).permute(0, 3, 1, 2, 4)


def change_colour(frames: Tensor, factors: NDArray[np.float64]) -> Tensor:
    """Brightness, contrast, saturation and hue, in this order.

    Args:
        frames: float [N, 3, H, W] in [-1, 1].
        factors: [N, 4] brightness, contrast, saturation as factors (1 changes nothing), hue in turns.

    Returns:
        [N, 3, H, W], clamped to [-1, 1].
    """
    brightness, contrast, saturation, hue = factors.T[..., None, None]
    luma = np.tile(np.array(_LUMA), (3, 1))  # [3, 3] projects to grey
    rotated = np.linalg.inv(_YIQ) @ _hue_rotations(hue[:, 0, 0]) @ _YIQ
    saturated = luma + saturation * (np.eye(3) - luma)
    matrices = _like(rotated @ saturated * (contrast * brightness), frames)
    # Of the image after brightness; saturation and hue keep grey.
    means = (frames.mean(dim=(2, 3)) + 1) / 2 @ _like(np.array(_LUMA), frames)
    shift = means * _like((1 - contrast[:, 0, 0]) * brightness[:, 0, 0], frames)
    pixels = (frames.flatten(2) + 1) / 2
    changed = torch.baddbmm(shift[:, None, None], matrices, pixels)
    return (changed.clamp(0, 1) * 2 - 1).reshape(frames.shape)


def warp(frames: Tensor, maps: NDArray[np.float64], outside: Border) -> Tensor:
    """Apply projective maps to images.

    Args:
        frames: float [N, 3, H, W].
        maps: [N, 3, 3], from a point of the result to one of the source; -1 to 1 from edge to edge.
        outside: fill beyond the source.

    Returns:
        [N, 3, H, W], bilinear.
    """
    height, width = frames.shape[-2:]
    x, y = ((torch.arange(side, dtype=torch.float64) * 2 + 1) / side - 1 for side in (width, height))
    plane = torch.stack(
        [x.expand(height, width), y[:, None].expand(height, width), torch.ones(height, width)], -1
    )
    points = _like(plane.flatten(0, 1).numpy(), frames) @ _like(maps, frames).transpose(1, 2)
    grid = (points[..., :2] / points[..., 2:]).reshape(len(frames), height, width, 2)
    return functional.grid_sample(frames, grid, mode="bilinear", padding_mode=outside, align_corners=False)


def _draw_colour(rng: np.random.Generator, settings: ColourJitter) -> NDArray[np.float64]:
    ranges = np.array([settings.brightness, settings.contrast, settings.saturation, settings.hue_turns])
    return np.array([1.0, 1.0, 1.0, 0.0]) + ranges * rng.uniform(-1, 1, 4)


def _draw_perspective(rng: np.random.Generator, settings: MotionAugmentation) -> NDArray[np.float64]:
    draw, inwards = rng.random(), rng.random((4, 2))
    if draw >= settings.perspective_probability:
        return np.eye(3)
    return perspective_map(_CORNERS * (1 - settings.perspective * inwards))


def perspective_map(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """The map [3, 3] from `corners` [4, 2] to the image's: `warp` moves the corners of the image to them."""
    equations = list[list[float]]()
    for (x, y), (u, v) in zip(corners.tolist(), _CORNERS.tolist(), strict=True):
        equations += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.append(np.linalg.solve(np.array(equations), _CORNERS.ravel()), 1.0).reshape(3, 3)


def _draw_similarity(rng: np.random.Generator, settings: WindowAugmentation) -> NDArray[np.float64]:
    angle_rad = np.radians(settings.rotation_degrees) * rng.uniform(-1, 1)
    scale = np.exp(rng.uniform(np.log(1 - settings.scale), np.log(1 + settings.scale)))
    cosine, sine = np.cos(angle_rad) / scale, np.sin(angle_rad) / scale
    return np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])


def _hue_rotations(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N] turns -> [N, 3, 3] rotations of YIQ's chroma plane."""
    cosine, sine = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
    matrices = np.zeros((len(turns), 3, 3))
    matrices[:, 0, 0] = 1
    matrices[:, 1, 1] = matrices[:, 2, 2] = cosine
    matrices[:, 1, 2], matrices[:, 2, 1] = -sine, sine
    return matrices


def _like(values: NDArray[np.float64], frames: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(frames.device, frames.dtype)


def _require_frames(frames: Tensor, dimensions: int, seeds: Sequence[int]) -> None:
    if frames.ndim != dimensions or frames.shape[-3] != 3 or not frames.is_floating_point():
        raise ValueError(
            f"frames must be float with {dimensions} dimensions, got {frames.dtype}{list(frames.shape)}"
        )
    if len(seeds) != len(frames):
        raise ValueError(f"need one seed per row, got {len(seeds)} for {len(frames)} rows")
