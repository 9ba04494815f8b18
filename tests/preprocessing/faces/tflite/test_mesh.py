"""The face mesh without MediaPipe's graph, against it."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut

from preprocessing.faces.mesh import FaceMesh
from preprocessing.faces.tflite.mesh import FaceFollower, region_of_landmarks, sample_features

Picture = NDArray[np.uint8]


def moving_face(frames: int) -> list[Picture]:
    """A photo that moves, turns and grows in windows whose side changes."""
    face = np.ascontiguousarray(astronaut()[:300, 80:380])
    pictures: list[Picture] = []
    for step in range(frames):
        motion = cv2.getRotationMatrix2D((150.0, 120.0), 5.0 * step, 1.0 + 0.02 * step)
        motion[:, 2] += [2.0 * step, step]
        pictures.append(np.asarray(cv2.warpAffine(face, motion, (300 - step, 300 - step)), np.uint8))
    return pictures


def follow(follower: FaceFollower, pictures: list[Picture]) -> NDArray[np.float32]:
    found = [follower.find(picture) for picture in pictures]
    return np.stack([landmarks for landmarks in found if landmarks is not None])


def test_follower_agrees_with_mediapipes_graph() -> None:
    follower = FaceFollower()
    with FaceMesh(tracking=True) as graph:
        for picture in moving_face(6):
            expected, landmarks = graph.find(picture), follower.find(picture)
            assert expected is not None
            assert landmarks is not None
            assert (landmarks.dtype, landmarks.shape) == (np.float32, (478, 3))
            distances = np.linalg.norm((landmarks - expected)[:, :2], axis=1)
            assert distances.mean() < 0.05
            assert distances.max() < 0.3
            np.testing.assert_allclose(landmarks[:, 2], expected[:, 2], atol=0.3)


def test_follower_finds_a_face_again_and_forgets_one() -> None:
    video = moving_face(3)
    follower = FaceFollower()
    first = follow(follower, video)
    assert follower.find(np.zeros((300, 300, 3), np.uint8)) is None
    np.testing.assert_array_equal(follow(follower, video), first)
    assert not np.array_equal(follow(follower, video[:1]), first[:1])  # followed from the last picture
    follower.forget()
    np.testing.assert_array_equal(follow(follower, video[:1]), first[:1])


def test_follower_refuses_images_that_are_not_square() -> None:
    with pytest.raises(ValueError, match=r"square RGB image, got \[4, 5, 3\]"):
        FaceFollower().find(np.zeros((4, 5, 3), np.uint8))


def test_region_is_upright_for_the_eyes() -> None:
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[0, :2], landmarks[1, :2] = (10, 20), (30, 60)
    landmarks[2:, :2] = (20, 40)
    landmarks[33, :2], landmarks[263, :2] = (20, 40), (20, 50)  # a head on its side
    region = region_of_landmarks(landmarks)
    np.testing.assert_allclose(region.centre, [20, 40])
    assert region.side == pytest.approx(1.5 * 40)
    assert region.angle == pytest.approx(np.pi / 2)
    np.testing.assert_allclose(region.to_image() @ [96, 96, 1], [20, 40])
    np.testing.assert_allclose(region.to_image() @ [192, 96, 1], [20, 70], atol=1e-9)


def test_samples_of_features_are_bilinear_and_zero_outside() -> None:
    features = np.arange(48 * 48 * 2, dtype=np.float32).reshape(48, 48, 2)
    # One output place of half a feature; its middle is a quarter.
    to_features = np.array([[[0.5, 0.0, 3.0], [0.0, 0.5, 5.0]], [[1.0, 0.0, 40.0], [0.0, 1.0, 0.0]]])
    samples = sample_features(features, to_features)
    assert samples.shape == (2, 16, 16, 2)
    x, y = 3.0 + 0.25 - 0.5, 5.0 + 0.25 - 0.5
    np.testing.assert_allclose(samples[0, 0, 0], [2 * (48 * y + x), 2 * (48 * y + x) + 1], rtol=1e-6)
    np.testing.assert_allclose(samples[1, 2, 7], features[2, 47])
    assert not samples[1, 2, 8:].any()
