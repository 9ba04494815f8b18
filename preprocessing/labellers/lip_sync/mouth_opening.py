"""Mouth opening from landmarks: the gap between the inner lips over the distance between the eyes."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.shape.landmark_groups import (
    IMAGE_LEFT_EYE_CORNERS,
    IMAGE_RIGHT_EYE_CORNERS,
    INNER_LIP_LOWER_MIDDLE,
    INNER_LIP_UPPER_MIDDLE,
)
from preprocessing.schema import LANDMARK_COUNT

NAME: Final = "inner_lip_gap"
VERSION: Final = "1"


def measure_mouth_opening(landmarks_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """Measure how far the mouth is open in every frame.

    Args:
        landmarks_px: [T, 478, 3] landmarks in pixels, z on the scale of x.

    Returns:
        [T] float32 >= 0: mean gap of five pairs of inner-lip points over the distance between the eyes'
        middles, both in 3-D, which makes it independent of head turns. A closed mouth gives about 0 to 0.02,
        a spoken "ah" 0.2 to 0.5.

    Raises:
        ValueError: the landmarks are not [T, 478, 3].
    """
    if landmarks_px.ndim != 3 or landmarks_px.shape[1:] != (LANDMARK_COUNT, 3):
        raise ValueError(f"landmarks are {list(landmarks_px.shape)}, need [T, {LANDMARK_COUNT}, 3]")
    points = landmarks_px.astype(np.float64)
    lips = points[:, INNER_LIP_UPPER_MIDDLE] - points[:, INNER_LIP_LOWER_MIDDLE]
    eyes = points[:, IMAGE_LEFT_EYE_CORNERS].mean(axis=1) - points[:, IMAGE_RIGHT_EYE_CORNERS].mean(axis=1)
    gap = np.linalg.norm(lips, axis=-1).mean(axis=-1)
    return (gap / np.linalg.norm(eyes, axis=-1)).astype(np.float32)
