"""Readings with given measures, as no picture would give them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.readings.face import FaceReadings

Values = NDArray[Any] | float


def readings(
    frames: int = 40,
    *,
    mouth: Values = 0.0,
    angles_degrees: Values = 0.0,
    gaze_degrees: Values = 0.0,
    blink: Values = 0.0,
    brow: Values = 0.0,
    smile: Values = 0.0,
    landmarks_px: Values = 0.0,
    found: NDArray[Any] | bool = True,
) -> FaceReadings:
    """Readings of `frames` frames; NaN where `found` is False."""
    there = np.broadcast_to(np.asarray(found), (frames,)).copy()

    def filled(value: Values, shape: tuple[int, ...]) -> NDArray[np.float32]:
        array = np.broadcast_to(np.asarray(value, np.float64), (frames, *shape)).astype(np.float32)
        array[~there] = np.nan
        return array

    return FaceReadings(
        found=there,
        landmarks_px=filled(landmarks_px, (478, 3)),
        mouth_opening=filled(mouth, ()),
        pose_rad=filled(np.radians(angles_degrees), (3,)),
        gaze_rad=filled(np.radians(gaze_degrees), (2,)),
        blink=filled(blink, (2,)),
        brow_raise=filled(brow, ()),
        smile=filled(smile, ()),
    )
