"""Measure irises in the picture: move the face mesh's iris points to the visible limbus.

The mesh's irises follow the eyes sideways, but vertically only by about a third of the true movement on
the demo corpus, and by about a half in people who keep looking into the camera. Here a circle of known
radius is placed where the picture darkens most steeply towards it from both sides. Only changes along
the line through the eyes count: the edges of lids, lashes and their shadows run along that line, the
sides of the iris across it. Both eyes turn together, so one shift is estimated for both, and a clearly
visible eye helps the other.

Where the picture has little information (lids nearly shut, blur, few pixels) the mesh's points stay.
"""

from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.faces.shape.landmark_groups import (
    IMAGE_LEFT_EYE,
    IMAGE_LEFT_EYE_CORNERS,
    IMAGE_LEFT_IRIS,
    IMAGE_RIGHT_EYE,
    IMAGE_RIGHT_EYE_CORNERS,
    IMAGE_RIGHT_IRIS,
)
from preprocessing.schema import LANDMARK_COUNT
from storage.settings import Settings

_CONTOURS: Final = (np.array(IMAGE_LEFT_EYE), np.array(IMAGE_RIGHT_EYE))
_IRISES: Final = np.array([IMAGE_LEFT_IRIS, IMAGE_RIGHT_IRIS])  # centre, then the four rim points
_CORNERS: Final = np.array([IMAGE_LEFT_EYE_CORNERS, IMAGE_RIGHT_EYE_CORNERS])
_UPPER_LID: Final = slice(1, 8)  # of a contour: outer corner, seven points, inner corner, seven points

# The patch in which an eye is measured, at the scale where the iris's radius is 8 px, and the range of
# candidate centres, both around the mesh's centre.
_RADIUS: Final = 8.0
_HALF_WIDTH, _HALF_HEIGHT = 16, 12
_REACH_ACROSS, _REACH_ALONG = 5, 7
_PATCH: Final = (2 * _HALF_WIDTH + 1, 2 * _HALF_HEIGHT + 1)
_MIDDLE: Final = np.array([_HALF_WIDTH, _HALF_HEIGHT], np.float64)
_HEIGHTS: Final = np.arange(-_REACH_ALONG, _REACH_ALONG + 1, dtype=np.float64)
_POLYGON_BITS: Final = 4


class IrisSettings(Settings):
    """How irises are searched for, and when the result counts. Lengths in iris radii.

    Tuned on the demo corpus of seed 0 together with clips of ten real people.
    """

    minimum_radius_px: float = Field(default=2.5, description="Below, the limbus is only a pixel or two wide")
    # The response is largest at 1.05 to 1.1 times the mesh's radius in the median of 14 real clips (0.95
    # to 1.2) and on the demo corpus, where 1.05 gives the true heights.
    radius_over_mesh: float = 1.05
    lid_margin: float = Field(default=0.15, description="Below the upper lid's line: its edge and lashes")
    minimum_opening: float = Field(
        default=1.5, description="Area between the lids in square radii; below, an eye is nearly shut"
    )
    clip_gradient: float = Field(
        default=2.5, description="In mean gradients; highlights and lashes are steeper than the limbus"
    )
    distance_cost: float = Field(
        default=0.075, description="Response that a position one radius above or below the mesh's must gain"
    )
    softness: float = Field(default=0.01, description="Response within which heights are averaged")
    # Responses, 0 to 1, below which nothing and above which all of the shift is applied. Sharp eyes give 0.1.
    response_none: float = 0.07
    response_full: float = 0.11
    # The whole mesh is that far to the right of the picture's features (measured on faces and their mirror
    # images, and on the irises of the demo corpus, where the true ones are known). Irises are shifted back
    # by as much, so that they do not move against the eye's corners.
    mesh_right: float = 0.08


def refine_irises(
    image: NDArray[np.uint8], landmarks_px: NDArray[np.float32], settings: IrisSettings | None = None
) -> NDArray[np.float32]:
    """Move the ten iris points to the irises in the picture.

    Args:
        image: [H, W, 3] RGB.
        landmarks_px: [478, 3] of one face in this image's pixels, pixel centres at whole numbers.
        settings: the defaults if None.

    Returns:
        [478, 3] float32, a copy: the five points of an iris are shifted together, all others unchanged.

    Raises:
        ValueError: another shape or dtype, or a landmark is not finite.
    """
    settings = settings or IrisSettings()
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.shape} {image.dtype}, need [H, W, 3] uint8")
    if landmarks_px.shape != (LANDMARK_COUNT, 3) or not np.isfinite(landmarks_px).all():
        raise ValueError(f"landmarks are {landmarks_px.shape}, need finite [{LANDMARK_COUNT}, 3]")
    refined = landmarks_px.astype(np.float32)
    points = landmarks_px[:, :2].astype(np.float64)
    radius_px = mesh_iris_radius_px(points)
    left, right = points[_CORNERS].sum(axis=1)
    length = float(np.hypot(*(right - left)))
    if radius_px < settings.minimum_radius_px or length == 0.0:
        return refined
    across, down = (right - left) / length
    pixel_px = radius_px * settings.radius_over_mesh / _RADIUS
    axes = np.array([[across, down], [-down, across]]) * pixel_px  # a patch's x and y, in the image
    edges_by_eye = [
        _edges(image, points[contour], points[iris[0]], axes, settings)
        for contour, iris in zip(_CONTOURS, _IRISES, strict=True)
    ]
    visible = [eye for eye in range(2) if edges_by_eye[eye] is not None]
    if not visible:
        return refined
    edges = sum(edge for edge in edges_by_eye if edge is not None) / len(visible)
    # Not `@`: BLAS sums in an order that depends on its number of threads, and so would the labels.
    responses = np.einsum("pk,k->p", _circles(), edges).reshape(2 * _REACH_ALONG + 1, 2 * _REACH_ACROSS + 1)
    place, share = _best_place(responses, settings)
    place[0] += settings.mesh_right * radius_px / pixel_px
    refined[_IRISES[visible].ravel(), :2] += (share * place @ axes).astype(np.float32)
    return refined


def mesh_iris_radius_px(points_px: NDArray[np.float64]) -> float:
    """Mean distance of the rim points from their iris's centre, both eyes; points [478, 2]."""
    rims = points_px[_IRISES[:, 1:]] - points_px[_IRISES[:, :1]]
    return float(np.sqrt((rims**2).sum(axis=-1)).mean())


def _edges(
    image: NDArray[np.uint8],
    contour: NDArray[np.float64],
    centre: NDArray[np.float64],
    axes: NDArray[np.float64],
    settings: IrisSettings,
) -> NDArray[np.float32] | None:
    """Brightness changes across one eye [patch pixels], absolute sum 1; None if it is shut or uniform."""
    lids = (contour - centre) @ (axes.T / float((axes[0] ** 2).sum())) + _MIDDLE
    lids[_UPPER_LID, 1] += settings.lid_margin * _RADIUS
    mask = np.zeros(_PATCH[::-1], np.uint8)
    cv2.fillPoly(mask, [np.rint(lids * (1 << _POLYGON_BITS)).astype(np.int32)], (1,), shift=_POLYGON_BITS)
    area = cv2.countNonZero(mask)
    if area < settings.minimum_opening * _RADIUS**2:
        return None
    to_image = np.empty((2, 3))
    to_image[:, :2], to_image[:, 2] = axes.T, centre - _MIDDLE @ axes
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    patch = cv2.warpAffine(image, to_image, _PATCH, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    luma = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32)
    change = np.zeros_like(luma)
    change[:, 1:-1] = (luma[:, 2:] - luma[:, :-2]) * mask[:, 1:-1]
    limit = settings.clip_gradient * float(np.abs(change).sum()) / area
    change = np.minimum(np.maximum(change, -limit), limit).ravel()
    total = float(np.abs(change).sum())
    return change / np.float32(total) if total > 0.0 else None


def _best_place(responses: NDArray[np.float32], settings: IrisSettings) -> tuple[NDArray[np.float64], float]:
    """Patch shift [2] of the circle from responses [Y, X], and its weight, 0 to 1."""
    profile = responses.max(axis=1) - settings.distance_cost * (_HEIGHTS / _RADIUS) ** 2
    best = float(profile.max())
    weights = np.exp((profile - best) / settings.softness)
    weights /= weights.sum()
    place = np.array([_peak(weights @ responses) - _REACH_ACROSS, float(weights @ _HEIGHTS)])
    span = settings.response_full - settings.response_none
    return place, min(max((best - settings.response_none) / span, 0.0), 1.0)


def _peak(row: NDArray[np.float64]) -> float:
    """Index of the largest value, with sub-pixel precision by the parabola through its neighbours."""
    top = int(np.argmax(row))
    if top in (0, len(row) - 1):
        return float(top)
    before, here, after = (float(value) for value in row[top - 1 : top + 2])
    bend = before - 2.0 * here + after
    return top + 0.5 * (before - after) / bend if bend < 0.0 else float(top)


@cache
def _circles() -> NDArray[np.float32]:
    """[positions, patch pixels]: the sides of a dark disc centred at each position.

    Positive on the right (dark to bright from left to right), negative on the left; a narrow ring
    minus half a ring twice as wide, so that edges beside the circle count against it.
    """
    y, x = np.mgrid[-_HALF_HEIGHT : _HALF_HEIGHT + 1, -_HALF_WIDTH : _HALF_WIDTH + 1].astype(np.float64)
    along, across = np.mgrid[-_REACH_ALONG : _REACH_ALONG + 1, -_REACH_ACROSS : _REACH_ACROSS + 1]
    right = x.reshape(1, -1) - across.reshape(-1, 1)
    down = y.reshape(1, -1) - along.reshape(-1, 1)
    distance = np.maximum(np.hypot(right, down), 1e-6)
    off = distance - _RADIUS
    ring = np.exp(-0.5 * off**2) - 0.5 * np.exp(-0.5 * (off / 2.0) ** 2)
    side = np.sign(right) * np.sqrt(np.abs(right) / distance)
    circles = (ring * side).astype(np.float32)
    circles.setflags(write=False)
    return circles
