"""MediaPipe as the project uses it, on a photo that scikit-image carries."""

import importlib
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut

from preprocessing.faces.mesh import FaceDetector, FaceMesh, parse_landmarks

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def face() -> Picture:
    return np.ascontiguousarray(astronaut()[:300, 80:380])


def moving(face: Picture, frames: int) -> list[Picture]:
    maps = (np.array([[1.0, 0.0, 3.0 * step], [0.0, 1.0, step]]) for step in range(frames))
    return [np.asarray(cv2.warpAffine(face, each, (300, 300)), np.uint8) for each in maps]


def follow(mesh: FaceMesh, pictures: list[Picture]) -> NDArray[np.float32]:
    results = [mesh.find(picture) for picture in pictures]
    return np.stack([landmarks for landmarks in results if landmarks is not None])


def test_forget_drops_the_tracked_face(face: Picture) -> None:
    video = moving(face, 4)
    with FaceMesh(tracking=True) as mesh:
        first = follow(mesh, video)
        unforgotten = follow(mesh, video)
        mesh.forget()
        again = follow(mesh, video)
        mesh.forget()
        mesh.forget()
        once_more = follow(mesh, video)
    assert not np.array_equal(unforgotten, first)  # else nothing is shown here
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(once_more, first)


def test_landmarks_are_in_pixels_at_every_size(face: Picture) -> None:
    larger = np.asarray(cv2.resize(face, (900, 900), interpolation=cv2.INTER_CUBIC), np.uint8)
    with FaceMesh(tracking=False) as mesh:
        small, large = mesh.find(face), mesh.find(larger)
        assert mesh.find(np.zeros_like(face)) is None
    assert small is not None
    assert large is not None
    assert (small.dtype, small.shape) == (np.float32, (478, 3))
    # OpenCV enlarges about pixel areas, so a pixel's centre x goes to 3 x + 1.
    np.testing.assert_allclose(np.median(large[:, :2] - (3 * small[:, :2] + 1), axis=0), [0, 0], atol=0.4)
    assert small[1, 2] < small[234, 2]  # the nose is nearer than the cheek
    box = detected_box(face)
    assert box[0] < small[1, 0] < box[2]
    assert box[1] < small[1, 1] < box[3]


def detected_box(face: Picture) -> NDArray[np.float32]:
    detector = FaceDetector()
    boxes = detector.find(face)
    assert detector.find(np.zeros((64, 96, 3), np.uint8)).shape == (0, 5)
    detector.close()
    assert boxes.shape == (1, 5)
    return boxes[0]


def test_parse_landmarks_equals_protobuf() -> None:
    messages: Any = importlib.import_module("mediapipe.framework.formats.landmark_pb2")
    message = messages.NormalizedLandmarkList()
    for number in range(478):
        message.landmark.add(x=number / 478, y=0.0, z=-1.5 * number)
    expected = np.array([(point.x, point.y, point.z) for point in message.landmark], np.float32)
    np.testing.assert_array_equal(parse_landmarks(message.SerializeToString()), expected)


def test_find_refuses_images_that_are_not_square() -> None:
    with (
        FaceMesh(tracking=True) as mesh,
        pytest.raises(ValueError, match=r"square RGB image, got \[4, 5, 3\]"),
    ):
        mesh.find(np.zeros((4, 5, 3), np.uint8))
