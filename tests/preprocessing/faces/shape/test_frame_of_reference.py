"""The signs of the frame of reference, by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.faces.shape.frame_of_reference import (
    angles_from_rotation,
    direction_from_gaze,
    gaze_from_direction,
    project_to_crop,
    rotation_from_angles,
)

QUARTER = math.pi / 2
FORWARDS = np.array([0.0, 0.0, 1.0])
ANGLE = st.floats(-1.5, 1.5)


@pytest.mark.parametrize(
    ("angles", "head_axis", "seen_as"),
    [
        ((QUARTER, 0, 0), (0, 0, 1), (0, -1, 0)),  # pitch > 0: the face looks down
        ((0, QUARTER, 0), (0, 0, 1), (1, 0, 0)),  # yaw > 0: to the image's right
        ((0, 0, QUARTER), (1, 0, 0), (0, 1, 0)),  # roll > 0: counter-clockwise in the image
        ((0, 0, QUARTER), (0, 0, 1), (0, 0, 1)),
    ],
)
def test_quarter_turns_follow_the_sign_convention(
    angles: tuple[float, ...], head_axis: tuple[int, ...], seen_as: tuple[int, ...]
) -> None:
    turned = rotation_from_angles(np.array(angles, np.float64)) @ np.array(head_axis, np.float64)
    np.testing.assert_allclose(turned, seen_as, atol=1e-15)


def test_rotation_is_roll_yaw_pitch() -> None:
    pitch, yaw, roll = (rotation_from_angles(row) for row in np.diag([0.3, -0.4, 0.5]))
    np.testing.assert_allclose(
        rotation_from_angles(np.array([0.3, -0.4, 0.5])), roll @ yaw @ pitch, atol=1e-15
    )


@given(ANGLE, ANGLE, ANGLE)
def test_angles_from_rotation_inverts(pitch: float, yaw: float, roll: float) -> None:
    angles = np.array([pitch, yaw, roll])
    np.testing.assert_allclose(angles_from_rotation(rotation_from_angles(angles)), angles, atol=1e-9)


@given(ANGLE, ANGLE, st.floats(0.1, 50))
def test_gaze_from_direction_inverts(pitch: float, yaw: float, length: float) -> None:
    gaze = np.array([[pitch, yaw]])
    np.testing.assert_allclose(gaze_from_direction(length * direction_from_gaze(gaze)), gaze, atol=1e-7)


def test_gaze_follows_the_sign_convention() -> None:
    for gaze in ([0.3, 0.0], [0.0, 0.3], [-0.2, 0.4]):
        head = rotation_from_angles(np.array([*gaze, 0.0])) @ FORWARDS
        np.testing.assert_allclose(np.sign(direction_from_gaze(np.array(gaze))), np.sign(head))
    np.testing.assert_allclose(direction_from_gaze(np.zeros(2)), FORWARDS)


def test_project_to_crop_scales_with_distance() -> None:
    points = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 50.0]])
    expected = [[112, 112], [122.15, 112], [112, 101.85], [132.3, 112]]
    np.testing.assert_allclose(project_to_crop(points), expected, atol=1e-9)
