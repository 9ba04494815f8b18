"""Landmark distances, by hand."""

import numpy as np
import pytest

from evaluation.metrics.control.landmark_distance import (
    F_LMD,
    FACE_POINTS,
    M_LMD,
    MOUTH_POINTS,
    landmark_distance_rows,
)
from evaluation.records import MODEL
from tests.factories.readings import readings


def test_a_mouth_moved_whole_costs_nothing_where_the_face_pays_in_full() -> None:
    true = np.random.default_rng(0).uniform(0, 224, (20, 478, 3))
    moved = readings(20, landmarks_px=true + np.array([3.0, 4.0, 100.0]))
    lip, face = landmark_distance_rows(
        moved, readings(20, landmarks_px=true), task="self", method=MODEL, video="v"
    )
    assert (lip.metric, face.metric) == (M_LMD, F_LMD)
    assert lip.value == pytest.approx(0.0, abs=1e-4)
    assert face.value == pytest.approx(5.0, abs=1e-4)


def test_the_mouths_shape_counts_once_its_mean_is_taken_out() -> None:
    made = np.zeros((20, 478, 3))
    made[:, MOUTH_POINTS[0], 0] = 40.0  # its mean moves by 1: 39 off there, 1 off at the 39 others
    lip, _ = landmark_distance_rows(
        readings(20, landmarks_px=made), readings(20), task="self", method=MODEL, video="v"
    )
    assert lip.value == pytest.approx((39 + 39 * 1) / 40)


def test_every_point_counts_once() -> None:
    assert len(set(MOUTH_POINTS)) == len(MOUTH_POINTS) == 40
    assert len(set(FACE_POINTS)) == len(FACE_POINTS) == 138


def test_too_few_faces_are_missing_with_the_reason() -> None:
    lost = readings(20, found=np.arange(20) < 3)
    for row in landmark_distance_rows(lost, readings(20), task="self", method=MODEL, video="v"):
        assert row.value is None
        assert row.missing_because == "read in 3 frames of both, need 16"
