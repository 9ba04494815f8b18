"""The eye region of one face put into another: the picture that the paper calls the anchor frame."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.alignment import fit_similarity
from preprocessing.face_points import IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE

# Bridge and root of the nose: they hold still between the eyes, whatever the eyes do.
NOSE_BRIDGE: Final = (6, 168, 197)
EYE_CORNERS: Final = (33, 133, 263, 362)


@dataclass(frozen=True)
class EyeSwapSettings:
    """How the region is cut and blended."""

    hull_growth: float = 1.5  # the hull round both eyes, grown about each eye's centre
    feather_share: float = 0.12  # width of the soft edge over the distance between the eyes


def swap_eyes(
    base: NDArray[np.uint8],
    base_landmarks_px: NDArray[np.float32],
    eyes: NDArray[np.uint8],
    eyes_landmarks_px: NDArray[np.float32],
    settings: EyeSwapSettings,
) -> NDArray[np.uint8]:
    """Put the eye region of `eyes` (v1) into `base` (v2).

    Args:
        base: [S, S, 3] RGB, v2; everything but its eye region is kept to the bit.
        base_landmarks_px: [478, 3].
        eyes: [S, S, 3] RGB, v1.
        eyes_landmarks_px: [478, 3].
        settings: region and blending.

    Returns:
        [S, S, 3] RGB: v1's region moved onto v2's by a similarity (so that the lids' shape, which
        tells a blink, is not stretched), its colours matched to v2's around the region, and
        blended in over a soft edge.
    """
    fixed = list(EYE_CORNERS + NOSE_BRIDGE)
    source = eyes_landmarks_px[fixed, :2].astype(np.float64)
    target = base_landmarks_px[fixed, :2].astype(np.float64)
    moved_map = fit_similarity(source, target)
    size = (base.shape[1], base.shape[0])
    moved = cv2.warpAffine(eyes, moved_map, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    moved_landmarks = eyes_landmarks_px[:, :2] @ moved_map[:, :2].T + moved_map[:, 2]
    eye_distance_px = float(np.linalg.norm(target[0] - target[2]))
    region = _region(base.shape[:2], moved_landmarks, base_landmarks_px[:, :2], settings.hull_growth)
    feather_px = max(1.0, settings.feather_share * eye_distance_px)
    weight = _soft_edge(region, feather_px)
    ring = (cv2.dilate(region, _disc(2 * feather_px)) > 0) & (region == 0)
    matched = _match_colours(moved, base, ring)
    blended = weight * matched + (1.0 - weight) * base
    return np.where(weight > 0, np.clip(np.rint(blended), 0, 255), base).astype(np.uint8)


def _region(
    shape: tuple[int, int],
    moved_landmarks: NDArray[np.float64],
    base_landmarks: NDArray[np.float32],
    growth: float,
) -> NDArray[np.uint8]:
    """255 in the hull round both eyes of both faces, so that no part of v2's own eyes remains."""
    outlines = []
    for contour in (IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE):
        for landmarks in (moved_landmarks, base_landmarks):
            points = landmarks[list(contour)]
            centre = points.mean(axis=0)
            reach = np.abs(points - centre).max() * np.array([1.0, 0.6])
            # An eye that is shut has a flat outline; its lids still need room above and below.
            grown = centre + (points - centre) * growth
            box = centre + reach * growth * 0.6 * np.array([[0.0, -1.0], [0.0, 1.0]])
            outlines += [grown, box]
    hull = cv2.convexHull(np.concatenate(outlines).astype(np.float32))
    region = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(region, np.rint(hull).astype(np.int32), 255)
    return region


def _soft_edge(region: NDArray[np.uint8], feather_px: float) -> NDArray[np.float64]:
    """Weights [S, S, 1]: 1 well inside the region, 0 outside it."""
    inside_px = cv2.distanceTransform(region, cv2.DIST_L2, 3)
    ramp = np.clip(inside_px / feather_px, 0.0, 1.0)
    return (ramp * ramp * (3.0 - 2.0 * ramp))[..., None].astype(np.float64)


def _disc(radius_px: float) -> NDArray[np.uint8]:
    side = 2 * round(radius_px) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.uint8)


def _match_colours(
    image: NDArray[np.uint8], reference: NDArray[np.uint8], where: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Shift and scale each Lab channel so that mean and spread agree with the reference's there."""
    source = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float64)
    target = cv2.cvtColor(reference, cv2.COLOR_RGB2LAB).astype(np.float64)
    source_mean, target_mean = source[where].mean(axis=0), target[where].mean(axis=0)
    spread = target[where].std(axis=0) / np.maximum(source[where].std(axis=0), 1.0)
    matched = (source - source_mean) * np.clip(spread, 0.7, 1.4) + target_mean
    lab = np.clip(np.rint(matched), 0, 255).astype(np.uint8)
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB).astype(np.float64)
