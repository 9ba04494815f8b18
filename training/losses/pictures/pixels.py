"""Pixel losses (ours, for short runs): L1 of pixels and of edges, weighted by region of the face."""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from training.losses.distances import full_precision

EYES: Final = ((33, 133, 159, 145), (362, 263, 386, 374))
"""Landmarks of each eye: both corners, middle of the upper and of the lower lid."""
MOUTH: Final = (61, 291, 13, 14)  # corners, middles of the inner lips
EYE_RADIUS: Final = 0.75
"""Radius of the weighted disc in eye widths. Ours: the lids and the iris, and some skin around them."""
MOUTH_RADIUS: Final = 0.75  # in mouth widths; ours


def weighted_l1(
    target: Float[Tensor, "B 3 H W"], generated: Float[Tensor, "B 3 H W"], weights: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, ""]:
    """``Σ w |I_f − I_g| / Σ w`` over the pixels of an image, the mean over channels and images.

    Args:
        target: driving frames; no gradient.
        generated: generated frames.
        weights: at least 0, from `face_region_weights`.

    Returns:
        At least 0; 0 for equal images.
    """
    difference = (full_precision(target.detach()) - full_precision(generated)).abs().mean(dim=1, keepdim=True)
    per_image = (difference * weights).sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3))
    return per_image.mean()


def weighted_edge_l1(
    target: Float[Tensor, "B 3 S S"], generated: Float[Tensor, "B 3 S S"], weights: Float[Tensor, "B 1 S S"]
) -> Float[Tensor, ""]:
    """`weighted_l1` of the differences between neighbouring pixels, rows and columns: keeps edges sharp."""
    difference = full_precision(target.detach()) - full_precision(generated)
    across = weighted_l1(torch.zeros_like(difference[..., 1:]), difference.diff(dim=3), weights[..., 1:])
    down = weighted_l1(torch.zeros_like(difference[..., 1:, :]), difference.diff(dim=2), weights[..., 1:, :])
    return across + down


def face_region_weights(
    landmarks_px: Float[Tensor, "B 478 3"], crop_side_px: int, side_px: int, *, eyes: float, mouth: float
) -> Float[Tensor, "B 1 S S"]:
    """1 everywhere, `eyes` in a disc around each eye and `mouth` in one around the mouth.

    Eyes and mouth are a few pixels of an image: an unweighted mean hardly rewards their motion.

    Args:
        landmarks_px: of the driving frames, in crops of `crop_side_px`; 0 px is the first pixel's centre.
        crop_side_px: side of the stored crops.
        side_px: S.
        eyes: weight of the eyes' discs.
        mouth: weight of the mouth's disc.
    """
    points = (landmarks_px[..., :2] + 0.5) / crop_side_px * side_px - 0.5
    place = torch.arange(side_px, device=points.device, dtype=points.dtype)
    weights = points.new_ones(len(points), 1, side_px, side_px)
    discs = [(indices, EYE_RADIUS, eyes) for indices in EYES] + [(MOUTH, MOUTH_RADIUS, mouth)]
    for indices, radius, weight in discs:
        part = points[:, list(indices)]
        width = torch.linalg.vector_norm(part[:, 0] - part[:, 1], dim=1)
        centre = part.mean(dim=1)
        x, y = (place - centre[:, axis, None] for axis in (0, 1))
        inside = x.square()[:, None, :] + y.square()[:, :, None] < (radius * width).square()[:, None, None]
        weights = torch.where(inside[:, None], weights.clamp_min(weight), weights)
    return weights
