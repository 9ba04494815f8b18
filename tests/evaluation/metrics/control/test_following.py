"""Errors and correlations of following, on values computed by hand."""

import numpy as np
import pytest

from evaluation.metrics.control.following import FOLLOWING_METRICS, ControlReference
from evaluation.metrics.metric import Measurement
from evaluation.readings.face import FaceReadings
from tests.factories.evaluation.readings import readings

WAVE = np.sin(2 * np.pi * np.arange(40) / 40)


def measured(output: FaceReadings, driver: FaceReadings) -> dict[str, Measurement]:
    reference = ControlReference[FaceReadings]({"lip": driver, "pose": driver, "eye": driver})
    functions = {metric.name: metric.measure for metric in FOLLOWING_METRICS}
    return {name: function(output, reference) for name, function in functions.items() if function}


def test_pose_errors_with_and_without_their_mean() -> None:
    driver = readings(angles_degrees=np.stack([WAVE, 2 * WAVE, WAVE], axis=1))
    offset = np.where(np.arange(40) % 2 == 0, 3.0, 5.0)
    output = readings(angles_degrees=np.stack([WAVE + offset, 2 * WAVE - 2, WAVE], axis=1))
    values = measured(output, driver)
    assert values["pitch_error"].value == pytest.approx(4.0, abs=1e-4)
    assert values["pitch_error_mean_removed"].value == pytest.approx(1.0, abs=1e-4)
    assert values["yaw_error"].value == pytest.approx(2.0, abs=1e-4)
    assert values["yaw_correlation"].value == pytest.approx(1.0, abs=1e-5)
    assert values["roll_error"].value == pytest.approx(0.0, abs=1e-4)
    assert {metric.unit for metric in FOLLOWING_METRICS if metric.name == "pitch_error"} == {"degrees"}


def test_gaze_error_is_the_angle_between_lines_of_sight() -> None:
    driver = readings(gaze_degrees=np.array([0.0, 10.0]))
    # 60 degrees down and straight ahead: cos 60 cos 10 between them.
    values = measured(readings(gaze_degrees=np.array([60.0, 0.0])), driver)
    expected = np.degrees(np.arccos(0.5 * np.cos(np.radians(10.0))))
    assert values["gaze_error"].value == pytest.approx(expected, abs=1e-4)


def test_blink_error_averages_eyes_and_frames_with_a_face() -> None:
    found = np.arange(40) >= 4
    values = measured(readings(blink=np.array([0.5, 0.1]), found=found), readings(blink=0.0))
    assert values["blink_error"].value == pytest.approx(0.3, abs=1e-6)
    assert values["face_found_share"].value == pytest.approx(0.9)


def test_following_is_missing_with_too_few_faces() -> None:
    found = np.arange(40) < 15
    values = measured(readings(mouth=WAVE, found=found), readings(mouth=WAVE))
    for metric in ("pitch_error", "gaze_error", "blink_error", "mouth_opening_correlation"):
        assert values[metric].value is None
        assert values[metric].missing_because == "read in 15 frames of both, need 16"


def test_following_is_missing_without_a_driver() -> None:
    values = measured(readings(), readings())
    assert values["smile_correlation"].missing_because == "no expression driver"
