"""Errors of following, by hand."""

import numpy as np
import pytest

from evaluation.controls import Control
from evaluation.metrics.control.following_error import following_rows
from evaluation.readings.face import FaceReadings
from evaluation.records import MODEL, MetricRecord
from tests.factories.readings import readings

WAVE = np.sin(2 * np.pi * np.arange(40) / 40)


def figures(output: FaceReadings, driver: FaceReadings) -> dict[str, MetricRecord]:
    drivers: dict[Control, FaceReadings] = {"lip": driver, "pose": driver, "eye": driver}
    rows = following_rows(output, drivers, task="self", method=MODEL, video="v")
    return {row.metric: row for row in rows}


def test_pose_errors_are_degrees_with_and_without_their_mean() -> None:
    driver = readings(angles_degrees=np.stack([WAVE, 2 * WAVE, WAVE], axis=1))
    offset = np.where(np.arange(40) % 2 == 0, 3.0, 5.0)
    output = readings(angles_degrees=np.stack([WAVE + offset, 2 * WAVE - 2, WAVE], axis=1))
    rows = figures(output, driver)
    assert rows["pitch_error"].value == pytest.approx(4.0, abs=1e-4)
    assert rows["pitch_error_mean_removed"].value == pytest.approx(1.0, abs=1e-4)
    assert rows["yaw_error"].value == pytest.approx(2.0, abs=1e-4)
    assert rows["yaw_correlation"].value == pytest.approx(1.0, abs=1e-5)
    assert rows["roll_error"].value == pytest.approx(0.0, abs=1e-4)
    assert rows["pitch_error"].unit == "degrees"


def test_the_gaze_error_is_the_angle_between_lines_of_sight() -> None:
    driver = readings(gaze_degrees=np.array([0.0, 10.0]))
    # 60 degrees down and straight ahead: cos 60 cos 10 between them.
    rows = figures(readings(gaze_degrees=np.array([60.0, 0.0])), driver)
    expected = np.degrees(np.arccos(0.5 * np.cos(np.radians(10.0))))
    assert rows["gaze_error"].value == pytest.approx(expected, abs=1e-4)


def test_the_blink_error_is_over_both_eyes_and_the_frames_with_a_face() -> None:
    found = np.arange(40) >= 4
    rows = figures(readings(blink=np.array([0.5, 0.1]), found=found), readings(blink=0.0))
    assert rows["blink_error"].value == pytest.approx(0.3, abs=1e-6)
    assert rows["face_found_share"].value == pytest.approx(0.9)


def test_too_few_faces_are_missing_with_the_reason() -> None:
    found = np.arange(40) < 15
    rows = figures(readings(mouth=WAVE, found=found), readings(mouth=WAVE))
    for metric in ("pitch_error", "gaze_error", "blink_error", "mouth_opening_correlation"):
        assert rows[metric].value is None
        assert rows[metric].missing_because == "read in 15 frames of both, need 16"


def test_a_control_without_a_driver_says_so() -> None:
    rows = figures(readings(), readings())
    assert rows["smile_correlation"].missing_because == "no expression driver"
