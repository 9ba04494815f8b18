"""Mouth opening: inner-lip gap over the distance between the eyes."""

import numpy as np
import pytest

from preprocessing.faces.shape import landmark_groups as face_points
from preprocessing.faces.shape.frame_of_reference import rotation_from_angles
from preprocessing.labellers.lip_sync.mouth_opening import measure_mouth_opening


def landmarks_with_gap(gap_px: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    landmarks = np.zeros((1, 478, 3), np.float32)
    landmarks[:, face_points.IMAGE_LEFT_EYE_CORNERS, 0] = -25.0
    landmarks[:, face_points.IMAGE_RIGHT_EYE_CORNERS, 0] = 25.0
    landmarks[:, face_points.INNER_LIP_LOWER_MIDDLE, 1] = gap_px
    return landmarks


def test_opening_is_gap_over_eye_distance() -> None:
    np.testing.assert_allclose(measure_mouth_opening(landmarks_with_gap(10.0)), [0.2], atol=1e-6)
    np.testing.assert_allclose(measure_mouth_opening(landmarks_with_gap(0.0)), [0.0])


def test_opening_is_independent_of_size_and_turn() -> None:
    landmarks = landmarks_with_gap(10.0)
    turned = 3.0 * landmarks @ rotation_from_angles(np.array([0.4, 0.5, -0.2])).astype(np.float32).T
    np.testing.assert_allclose(measure_mouth_opening(turned), [0.2], atol=1e-6)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="landmarks are"):
        measure_mouth_opening(np.zeros((1, 468, 3), np.float32))
