"""Lid gap over eye width, levels per person, blink."""

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.faces.shape import landmark_groups as face_points
from preprocessing.faces.shape.frame_of_reference import rotation_from_angles
from preprocessing.labellers.blink_lids import (
    BlinkSettings,
    OpennessLevels,
    label_blink,
    measure_openness,
    person_openness_levels,
)


def eyes_open_by(left_px: list[float], right_px: list[float]) -> NDArray[np.float32]:
    """[T, 478, 3] landmarks with eyes 20 px wide and lids parallel at the given gaps."""
    landmarks = np.zeros((len(left_px), 478, 3), np.float32)
    sides = (
        (
            face_points.IMAGE_LEFT_EYE_CORNERS,
            face_points.IMAGE_LEFT_UPPER_LID,
            face_points.IMAGE_LEFT_LOWER_LID,
        ),
        (
            face_points.IMAGE_RIGHT_EYE_CORNERS,
            face_points.IMAGE_RIGHT_UPPER_LID,
            face_points.IMAGE_RIGHT_LOWER_LID,
        ),
    )
    for (corners, upper, lower), gaps in zip(sides, (left_px, right_px), strict=True):
        landmarks[:, corners[1], 0] = 20.0
        for frame, gap in enumerate(gaps):
            landmarks[frame, upper, 1], landmarks[frame, lower, 1] = -gap / 2, gap / 2
    return landmarks


def test_openness_is_lid_gap_over_eye_width() -> None:
    np.testing.assert_allclose(
        measure_openness(eyes_open_by([6.0, 0.0], [4.0, 2.0])), [[0.3, 0.2], [0.0, 0.1]]
    )


def test_openness_is_independent_of_head_turns() -> None:
    landmarks = eyes_open_by([6.0], [4.0])
    turned = landmarks @ rotation_from_angles(np.array([0.3, 0.5, 0.2])).astype(np.float32).T
    np.testing.assert_allclose(measure_openness(turned), measure_openness(landmarks), atol=1e-6)


def test_levels_pool_all_clips_of_a_person() -> None:
    first, second = np.full((50, 2), 0.2, np.float32), np.full((50, 2), 0.4, np.float32)
    levels = person_openness_levels([first, second], BlinkSettings(open_percentile=90.0, shut_share=0.25))
    np.testing.assert_allclose(levels.open, [0.4, 0.4], atol=1e-6)
    np.testing.assert_allclose(levels.shut, [0.1, 0.1], atol=1e-6)


def test_blink_is_0_open_to_1_shut_for_either_eye() -> None:
    levels = OpennessLevels(open=np.array([0.3, 0.4]), shut=np.array([0.1, 0.2]))
    blink = label_blink(eyes_open_by([6.0, 4.0, 0.0], [9.0, 6.0, 4.0]), levels)
    np.testing.assert_allclose(blink, [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]], atol=1e-6)


def test_levels_refuse_clips_without_frames() -> None:
    with pytest.raises(ValueError, match="1 clips without a frame"):
        person_openness_levels([np.zeros((0, 2), np.float32)])


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="landmarks are"):
        measure_openness(np.zeros((2, 478, 2), np.float32))
