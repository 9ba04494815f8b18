"""Landmark distances, on values computed by hand."""

import numpy as np
import pytest

from evaluation.metrics.control.following import ControlReference
from evaluation.metrics.control.landmark_distance import F_LMD, FACE_POINTS, M_LMD, MOUTH_POINTS
from evaluation.metrics.metric import Measurement
from evaluation.readings.face import FaceReadings
from tests.factories.evaluation.readings import readings


def distances(output: FaceReadings, truth: FaceReadings) -> list[Measurement]:
    reference = ControlReference({}, truth)
    assert M_LMD.measure is not None
    assert F_LMD.measure is not None
    return [M_LMD.measure(output, reference), F_LMD.measure(output, reference)]


def test_m_lmd_ignores_a_shift_and_f_lmd_counts_it() -> None:
    points = np.random.default_rng(0).uniform(0, 224, (20, 478, 3))
    moved = readings(20, landmarks_px=points + np.array([3.0, 4.0, 100.0]))
    mouth, face = distances(moved, readings(20, landmarks_px=points))
    assert mouth.value == pytest.approx(0.0, abs=1e-4)
    assert face.value == pytest.approx(5.0, abs=1e-4)


def test_m_lmd_removes_the_mean_of_the_mouth() -> None:
    points = np.zeros((20, 478, 3))
    points[:, MOUTH_POINTS[0], 0] = 40.0  # the mean moves by 1: 39 off at that point, 1 off at the 39 others
    mouth, _ = distances(readings(20, landmarks_px=points), readings(20))
    assert mouth.value == pytest.approx((39 + 39 * 1) / 40)


def test_every_point_is_listed_once() -> None:
    assert len(set(MOUTH_POINTS)) == len(MOUTH_POINTS) == 40
    assert len(set(FACE_POINTS)) == len(FACE_POINTS) == 138


def test_landmark_distance_is_missing_with_too_few_faces() -> None:
    lost = readings(20, found=np.arange(20) < 3)
    for measurement in distances(lost, readings(20)):
        assert measurement == Measurement(None, "read in 3 frames of both, need 16")
