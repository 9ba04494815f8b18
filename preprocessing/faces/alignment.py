"""From source pixels to the 224 x 224 crop, one affine map per frame.

`official`: the crop that the released PD-FGC networks expect. Eyes and mouth of the clip's average
landmarks are mapped to fixed positions in a 224 px frame, then each frame is shifted so that its
mouth stays in place, then rows 0:192 and columns 16:208 of that frame are enlarged to 224. All steps
are one affine map here, so each pixel is resampled once.

`square`: the clip's average face box, enlarged, and the same for every frame.
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.faces.shape.geometry import fit_similarity
from preprocessing.schema import CROP_SIDE_PX, LANDMARK_COUNT
from storage.settings import Settings

# Positions of (image-left eye, image-right eye, mouth) in the official alignment's 224 px frame.
OFFICIAL_TARGET_PX: Final = np.array([[87.0, 59.0], [137.0, 59.0], [112.0, 120.0]])
OFFICIAL_SMOOTHING: Final = 0.2  # weight of the previous frame's mouth shift
NETWORK_LEFT_PX: Final = 16.0  # the official inference cuts columns 16:208 and rows 0:192
NETWORK_SIDE_PX: Final = 192.0
# The eye contours (six points each) and inner lips (eight) of the 68-point scheme, in the 478-point mesh.
SIX_POINT_LEFT_EYE: Final = (33, 160, 158, 133, 153, 144)
SIX_POINT_RIGHT_EYE: Final = (362, 385, 387, 263, 373, 380)
EIGHT_POINT_INNER_LIPS: Final = (78, 81, 13, 311, 308, 402, 14, 178)
EYES_AND_MOUTH: Final = (SIX_POINT_LEFT_EYE, SIX_POINT_RIGHT_EYE, EIGHT_POINT_INNER_LIPS)

CropMode = Literal["official", "square"]


class AlignmentSettings(Settings):
    """How a crop is cut from the source."""

    mode: CropMode = Field(
        default="official",
        description="official: aligned as the released networks expect; square: centred on the face box",
    )
    square_scale: float = Field(
        default=1.8,
        ge=1.0,
        le=4.0,
        description="Side of the square crop, relative to the longer side of the face box (mode square)",
    )


def crop_transforms(landmarks_px: NDArray[np.float32], settings: AlignmentSettings) -> NDArray[np.float32]:
    """Affine maps from source pixels to crop pixels.

    Args:
        landmarks_px: [T, 478, 3] of one clip, source pixels.
        settings: the kind of crop.

    Returns:
        [T, 2, 3] float32; crop_px = A[:, :2] @ source_px + A[:, 2], pixel centres at whole numbers.

    Raises:
        ValueError: another shape, or the eyes and mouth of the clip coincide.
    """
    if landmarks_px.ndim != 3 or landmarks_px.shape[1:] != (LANDMARK_COUNT, 3):
        raise ValueError(f"landmarks are {list(landmarks_px.shape)}, need [T, {LANDMARK_COUNT}, 3]")
    points = landmarks_px[..., :2].astype(np.float64)
    if settings.mode == "official":
        return _official_transforms(points).astype(np.float32)
    return _square_transforms(points, settings.square_scale).astype(np.float32)


def transform_landmarks(
    landmarks_px: NDArray[np.float32], transforms: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Map landmarks [T, 478, 3] from source pixels to crop pixels; z is scaled by the map's scale."""
    linear, shift = transforms[:, :, :2], transforms[:, :, 2]
    moved = np.einsum("tij,tnj->tni", linear, landmarks_px[..., :2]) + shift[:, None]
    scale = np.sqrt(np.abs(np.linalg.det(linear)))
    depth = landmarks_px[..., 2:] * scale[:, None, None]
    return np.concatenate([moved, depth], axis=-1).astype(np.float32)


def _official_transforms(points: NDArray[np.float64]) -> NDArray[np.float64]:
    eyes_and_mouth = np.stack(
        [points[:, list(group)].mean(axis=1) for group in EYES_AND_MOUTH],
        axis=1,
    )  # [T, 3, 2]
    similarity = fit_similarity(eyes_and_mouth.mean(axis=0), OFFICIAL_TARGET_PX).matrix
    mouth = eyes_and_mouth[:, 2] @ similarity[:, :2].T + similarity[:, 2]
    shift = _smooth(OFFICIAL_TARGET_PX[2] - mouth)
    zoom = CROP_SIDE_PX / NETWORK_SIDE_PX
    transforms = np.repeat(zoom * similarity[None], len(points), axis=0)
    # Cutting and enlarging work on pixel areas: (x - left + 1/2) * zoom - 1/2.
    cut = np.array([-NETWORK_LEFT_PX + 0.5, 0.5]) * zoom - 0.5
    transforms[:, :, 2] += zoom * shift + cut
    return transforms


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    smoothed = values.copy()
    for frame in range(1, len(values)):
        smoothed[frame] = OFFICIAL_SMOOTHING * smoothed[frame - 1] + (1 - OFFICIAL_SMOOTHING) * values[frame]
    return smoothed


def _square_transforms(points: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    low, high = points.min(axis=1), points.max(axis=1)
    centre = ((low + high) / 2).mean(axis=0)
    side = scale * (high - low).max(axis=1).mean()
    zoom = CROP_SIDE_PX / side
    transform = np.zeros((2, 3))
    transform[:, :2] = zoom * np.eye(2)
    transform[:, 2] = (side / 2 - centre) * zoom - 0.5
    return np.repeat(transform[None], len(points), axis=0)
