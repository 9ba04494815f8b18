"""Gaze from iris points: exactness on a rendered eyeball model, signs, shut eyes."""

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.faces.shape.frame_of_reference import (
    direction_from_gaze,
    project_to_crop,
    rotation_from_angles,
)
from preprocessing.faces.shape.landmark_groups import IMAGE_LEFT_IRIS, IMAGE_RIGHT_IRIS
from preprocessing.faces.shape.mean_face import EYEBALL_IRIS_RADIUS_CM, load_mean_face
from preprocessing.labellers.gaze_iris import GazeSettings, label_gaze

GEOMETRY = GazeSettings(vertical_gain=1.0, horizontal_gain=1.0)


def project_looking_face(
    pose: NDArray[np.float64], gaze: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """[T, 6], [T, 2] -> landmarks [T, 478, 2] of the mean face with turned eyeballs, pose as float32."""
    face = load_mean_face()
    vertices = np.repeat(face.vertices_cm[None], len(pose), axis=0)
    for eye, iris in enumerate((IMAGE_LEFT_IRIS, IMAGE_RIGHT_IRIS)):
        way = EYEBALL_IRIS_RADIUS_CM * direction_from_gaze(gaze)
        vertices[:, iris[0]] = face.eyeball_centres_cm[eye] + way
    camera = np.einsum("tij,tpj->tpi", rotation_from_angles(pose[:, :3]), vertices) + pose[:, None, 3:]
    return project_to_crop(camera).astype(np.float32), pose.astype(np.float32)


def random_pose(count: int) -> NDArray[np.float64]:
    random = np.random.default_rng(5)
    pose = np.concatenate([random.uniform(-0.5, 0.5, (count, 3)), random.uniform(-3, 3, (count, 3))], axis=1)
    pose[:, 5] -= 28.0
    return pose


def test_gaze_is_exact_for_any_head_pose() -> None:
    gaze = np.random.default_rng(6).uniform(-0.4, 0.4, (50, 2))
    landmarks, pose = project_looking_face(random_pose(50), gaze)
    labels = label_gaze(landmarks, pose, np.zeros((50, 2), np.float32), GEOMETRY)
    np.testing.assert_allclose(labels.gaze, gaze, atol=2e-4)
    assert labels.valid.all()


def test_gaze_signs_and_magnitude() -> None:
    """An iris one centimetre's tenth to the right of rest: asin(0.1 / 1.05) = 5.46 degrees."""
    pose = np.zeros((3, 6), np.float32)
    landmarks, _ = project_looking_face(pose.astype(np.float64), np.zeros((3, 2)))
    # The iris's plane lies 1.05 cm before the origin: 1015 / 98.95 px a centimetre.
    tenth_px = 0.1 * 1015.0 / 98.95
    for iris in (IMAGE_LEFT_IRIS[0], IMAGE_RIGHT_IRIS[0]):
        landmarks[1, iris, 0] += tenth_px
        landmarks[2, iris, 1] += tenth_px
    gaze_deg = np.degrees(label_gaze(landmarks, pose, np.zeros((3, 2), np.float32), GEOMETRY).gaze)
    np.testing.assert_allclose(gaze_deg, [[0.0, 0.0], [0.0, 5.46], [5.46, 0.0]], atol=0.05)


def test_gaze_ignores_an_offset_of_the_pose() -> None:
    landmarks, pose = project_looking_face(random_pose(10), np.full((10, 2), 0.1))
    pose[:, 3] += 0.2  # two pixels, about fourteen degrees of gaze if it counted
    labels = label_gaze(landmarks, pose, np.zeros((10, 2), np.float32), GEOMETRY)
    assert np.degrees(np.abs(labels.gaze - 0.1)).max() < 0.5


def test_gaze_of_one_shut_eye_is_the_other_eyes() -> None:
    gaze = np.full((4, 2), 0.2)
    landmarks, pose = project_looking_face(random_pose(4), gaze)
    landmarks[2, IMAGE_LEFT_IRIS[0]] += 5.0
    blink = np.zeros((4, 2), np.float32)
    blink[2, 0] = 1.0
    labels = label_gaze(landmarks, pose, blink, GEOMETRY)
    np.testing.assert_allclose(labels.gaze, gaze, atol=2e-4)
    assert labels.valid.all()


def test_gaze_of_shut_eyes_is_interpolated_and_invalid() -> None:
    gaze = np.array([[0.0, 0.0], [0.3, 0.3], [0.3, 0.3], [0.3, 0.0], [0.3, 0.3]])
    landmarks, pose = project_looking_face(np.zeros((5, 6)), gaze)
    blink = np.zeros((5, 2), np.float32)
    blink[[1, 2, 4]] = 0.9
    labels = label_gaze(landmarks, pose, blink, GEOMETRY)
    np.testing.assert_array_equal(labels.valid, [True, False, False, True, False])
    np.testing.assert_allclose(labels.gaze[:, 0], [0.0, 0.1, 0.2, 0.3, 0.3], atol=2e-4)


def test_gaze_of_always_shut_eyes_is_zero() -> None:
    landmarks, pose = project_looking_face(np.zeros((3, 6)), np.full((3, 2), 0.2))
    labels = label_gaze(landmarks, pose, np.ones((3, 2), np.float32))
    assert not labels.valid.any()
    np.testing.assert_array_equal(labels.gaze, np.zeros((3, 2), np.float32))


def test_constant_disagreement_of_the_eyes_cancels() -> None:
    pose = np.zeros((20, 6))
    pose[:, 1], pose[:, 5] = np.linspace(-0.5, 0.5, 20), -28.0
    landmarks, pose32 = project_looking_face(pose, np.zeros((20, 2)))
    plain = label_gaze(landmarks, pose32, np.zeros((20, 2), np.float32), GEOMETRY).gaze
    face = load_mean_face()
    for iris, way in ((IMAGE_LEFT_IRIS[0], 0.1), (IMAGE_RIGHT_IRIS[0], -0.1)):
        eye = 0 if iris == IMAGE_LEFT_IRIS[0] else 1
        gaze = np.tile([0.0, way], (20, 1))
        points = face.eyeball_centres_cm[eye] + EYEBALL_IRIS_RADIUS_CM * direction_from_gaze(gaze)
        turned = np.einsum("tij,tj->ti", rotation_from_angles(pose[:, :3]), points) + pose[:, 3:]
        landmarks[:, iris] = project_to_crop(turned)
    crossed = label_gaze(landmarks, pose32, np.zeros((20, 2), np.float32), GEOMETRY).gaze
    np.testing.assert_allclose(crossed, plain, atol=1e-3)


def test_gains_scale_either_angle_up_to_the_reach() -> None:
    gaze = np.array([[0.1, 0.2], [-0.1, -0.2], [0.1, 0.6]])
    landmarks, pose = project_looking_face(np.zeros((3, 6)), gaze)
    settings = GazeSettings(vertical_gain=1.5, horizontal_gain=2.0, reach_rad=1.0)
    labels = label_gaze(landmarks, pose, np.zeros((3, 2), np.float32), settings)
    np.testing.assert_allclose(labels.gaze, [[0.15, 0.4], [-0.15, -0.4], [0.15, 1.0]], atol=5e-4)


def test_mismatched_shapes_are_refused() -> None:
    landmarks, pose = project_looking_face(np.zeros((2, 6)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="2 frames of landmarks"):
        label_gaze(landmarks, pose[:1], np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="landmarks are"):
        label_gaze(landmarks[:, :468], pose, np.zeros((2, 2), np.float32))
