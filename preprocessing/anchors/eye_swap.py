"""Swaps the eye region of one face into another: the paper's anchor frame.

The region is the hull of both eyes with their lid skin, up to the brows. A tighter hull leaves v2's lid folds
and shadows around v1's eyes, and neither people nor landmark models then see v1's lids.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.faces.shape.geometry import fit_similarity
from preprocessing.faces.shape.landmark_groups import EYE_REGION_POINTS, IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE
from storage.settings import Settings

OUTER_CORNERS: Final = (33, 263)
# Eye corners and the bridge of the nose do not move with the eyes.
FIXED_POINTS: Final = (*OUTER_CORNERS, 133, 362, 6, 168, 197)
# Added to grey levels before their ratio, which noise would dominate in the dark.
DARK_LEVEL: Final = 16.0
COLOUR_GRID_PX: Final = 4  # the colour change is smooth, so a coarse grid is enough


class EyeSwapSettings(Settings):
    """How the region is cut, coloured and blended. Shares are of the distance of the outer eye corners."""

    margin_share: float = Field(
        default=0.10,
        ge=0.0,
        le=1.0,
        description="Margin of the region beyond the eyelids, relative to the distance of the outer eye "
        "corners",
    )
    feather_share: float = Field(
        default=0.15,
        ge=0.001,
        le=1.0,
        description="Width of the soft edge inside the region, relative to the distance of the outer eye "
        "corners",
    )
    colour_reach_share: float = Field(
        default=0.18,
        ge=0.001,
        le=1.0,
        description="Gaussian sigma of the colour correction from the edge inwards, relative to the "
        "distance of the outer eye corners",
    )
    colour_spread: float = Field(
        default=0.35,
        ge=0.0,
        description="Maximum deviation of the log colour ratio from its median on the edge",
    )
    opening_share: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Share of the brightness correction applied to the eyeballs; their hue stays the donor's",
    )


def swap_eyes(
    base: NDArray[np.uint8],
    base_landmarks_px: NDArray[np.float32],
    eyes: NDArray[np.uint8],
    eyes_landmarks_px: NDArray[np.float32],
    settings: EyeSwapSettings,
) -> NDArray[np.uint8]:
    """Put the eye region of `eyes` (v1) into `base` (v2).

    Args:
        base: [H, W, 3] RGB, v2; unchanged outside the region.
        base_landmarks_px: [478, 3] or [478, 2].
        eyes: [H, W, 3] RGB, v1.
        eyes_landmarks_px: [478, 3] or [478, 2].
        settings: region, colours and blending.

    Returns:
        [H, W, 3] RGB: v1's region aligned to v2's by a similarity (which does not stretch the lids' shape,
        and so keeps the blink), its colours matched to v2's along the edge, and blended over a soft edge.
    """
    base_points = base_landmarks_px[:, :2].astype(np.float64)
    eyes_points = eyes_landmarks_px[:, :2].astype(np.float64)
    movement = fit_similarity(eyes_points[list(FIXED_POINTS)], base_points[list(FIXED_POINTS)]).matrix
    moved_points = eyes_points @ movement[:, :2].T + movement[:, 2]
    left, right = base_points[list(OUTER_CORNERS)]
    width_px = float(np.linalg.norm(left - right))

    region = np.concatenate([moved_points[list(EYE_REGION_POINTS)], base_points[list(EYE_REGION_POINTS)]])
    window = _window(region, settings.margin_share * width_px, (base.shape[0], base.shape[1]))
    top, bottom, start, end = window
    if top >= bottom or start >= end:
        return base.copy()
    corner = np.array([start, top], np.float64)
    movement[:, 2] -= corner
    # Cubic: v1's eyes must be as sharp as the face around them.
    moved = cv2.warpAffine(
        eyes, movement, (end - start, bottom - top), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float32)
    under = base[top:bottom, start:end].astype(np.float32)
    weight = _weight(region - corner, under.shape[:2], width_px, settings)
    opening = _opening(moved_points - corner, under.shape[:2], width_px)
    matched = _match_colours(moved, under, weight, opening, width_px, settings)
    blended = np.clip(np.rint(weight * matched + (1.0 - weight) * under), 0, 255).astype(np.uint8)
    composite = base.copy()
    composite[top:bottom, start:end] = np.where(weight > 0.0, blended, base[top:bottom, start:end])
    return composite


def _window(
    points: NDArray[np.float64], margin_px: float, shape: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Bounding box of the region, clipped to the picture: top, bottom, start, end."""
    low = np.floor(points.min(axis=0) - margin_px).astype(int) - 1
    high = np.ceil(points.max(axis=0) + margin_px).astype(int) + 2
    start, top = np.maximum(low, 0).tolist()
    end, bottom = np.minimum(high, (shape[1], shape[0])).tolist()
    return top, bottom, start, end


def _weight(
    points: NDArray[np.float64], shape: tuple[int, ...], width_px: float, settings: EyeSwapSettings
) -> NDArray[np.float32]:
    """[h, w, 1]: 1 well inside the hull of both faces' eye regions, falling to 0 at the region's edge."""
    hull = np.zeros(shape, np.uint8)
    outline = np.rint(cv2.convexHull(points.astype(np.float32))).astype(np.int32)
    cv2.fillConvexPoly(hull, outline, (1,))
    inside_px = cv2.distanceTransform(hull, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - hull, cv2.DIST_L2, 5)
    depth = (inside_px + settings.margin_share * width_px) / max(1.0, settings.feather_share * width_px)
    ramp = np.clip(depth, 0.0, 1.0)
    return (ramp * ramp * (3.0 - 2.0 * ramp))[..., None].astype(np.float32)


def _opening(points: NDArray[np.float64], shape: tuple[int, ...], width_px: float) -> NDArray[np.float32]:
    """[h, w, 1]: 1 between v1's lids, 0 on skin, with a soft transition."""
    mask = np.zeros(shape, np.float32)
    for contour in (IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE):
        cv2.fillPoly(mask, [np.rint(points[list(contour)]).astype(np.int32)], (1.0,))
    return cv2.GaussianBlur(mask, (0, 0), max(0.5, 0.02 * width_px))[..., None].astype(np.float32)


def _match_colours(
    moved: NDArray[np.float32],
    under: NDArray[np.float32],
    weight: NDArray[np.float32],
    opening: NDArray[np.float32],
    width_px: float,
    settings: EyeSwapSettings,
) -> NDArray[np.float32]:
    """Match brightness and tint of v1's region to v2's skin along the soft edge.

    By ratios, not differences, which would deepen the shade under a brow on darker skin. Eyeballs are not
    skin: they take part of the brightness change and none of the tint.
    """
    edge = ((weight > 0.0) & (weight < 0.9)).astype(np.float32)
    if not edge.any():
        return moved
    ratio = np.log((under + DARK_LEVEL) / (np.maximum(moved, 0.0) + DARK_LEVEL))
    median = np.median(ratio[edge[..., 0] > 0.0], axis=0)
    # Limits the influence of brows and hair on one of the faces.
    ratio = np.clip(ratio, median - settings.colour_spread, median + settings.colour_spread)
    skin = _spread_inwards(ratio, edge, settings.colour_reach_share * width_px, median.astype(np.float32))
    eyeball = settings.opening_share * skin.mean(axis=2, keepdims=True)
    change = skin + (eyeball - skin) * opening
    return ((moved + DARK_LEVEL) * np.exp(change) - DARK_LEVEL).astype(np.float32)


def _spread_inwards(
    values: NDArray[np.float32], known: NDArray[np.float32], reach_px: float, otherwise: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weighted Gaussian mean [h, w, 3] of the values where `known` [h, w, 1] is 1."""
    height, width = values.shape[:2]
    coarse = (max(1, width // COLOUR_GRID_PX), max(1, height // COLOUR_GRID_PX))
    both = np.concatenate([(values - otherwise) * known, known], axis=2)
    small = cv2.resize(both, coarse, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), reach_px / COLOUR_GRID_PX)
    blurred = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    # The small addend makes pixels out of reach fall back to the median.
    return (otherwise + blurred[..., :3] / (blurred[..., 3:] + 1e-3)).astype(np.float32)
