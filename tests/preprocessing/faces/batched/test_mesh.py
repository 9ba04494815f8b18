"""The face mesh in batches, against the one of the CPU."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from preprocessing.faces.batched.mesh import BatchedMesh
from preprocessing.faces.tflite.mesh import FaceFollower, Region, region_of_landmarks
from tests.preprocessing.faces.tflite.test_mesh import Picture, follow, moving_face


@pytest.fixture(scope="module")
def mesh() -> BatchedMesh:
    return BatchedMesh("auto")


def test_landmarks_are_within_a_tenth_of_a_pixel(mesh: BatchedMesh) -> None:
    pictures = moving_face(4)
    ours, expected = (follow(FaceFollower(mesh=which), pictures) for which in (mesh, None))
    distances = np.linalg.norm((ours - expected)[..., :2], axis=-1)
    assert distances.shape == (4, 478)
    assert distances.mean() < 0.03
    assert distances.max() < 0.1
    np.testing.assert_allclose(ours[..., 2], expected[..., 2], atol=0.1)


def test_faces_that_wait_share_a_batch(mesh: BatchedMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = moving_face(3)  # of three sides
    alone = [FaceFollower(mesh=mesh).find(picture) for picture in pictures]
    regions = [region_of_landmarks(found) for found in alone if found is not None]
    singles = [mesh.find(*each, 0.5) for each in zip(pictures, regions, strict=True)]
    batches, faces, is_busy, go_on = mesh.batches, mesh.faces, threading.Event(), threading.Event()
    find_all = mesh.find_all

    def find_all_late(images: Sequence[Picture], regions: Sequence[Region]) -> Any:
        is_busy.set()
        go_on.wait()
        return find_all(images, regions)

    monkeypatch.setattr(mesh, "find_all", find_all_late)
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(mesh.find, pictures[0], regions[0], 0.5)
        is_busy.wait()
        futures = [threads.submit(mesh.find, *each, 0.5) for each in zip(pictures, regions, strict=True)]
        while mesh.waiting < 3:
            time.sleep(0.001)
        go_on.set()
        found = [future.result() for future in (first, *futures)]
    assert (mesh.batches - batches, mesh.faces - faces) == (2, 4)
    for points, single in zip(found, [singles[0], *singles], strict=True):
        assert points is not None
        assert single is not None
        np.testing.assert_allclose(points, single, atol=0.01)


def test_no_face_is_none_and_an_error_is_the_callers(mesh: BatchedMesh) -> None:
    picture = moving_face(1)[0]
    found = FaceFollower(mesh=mesh).find(picture)
    assert found is not None
    region = region_of_landmarks(found)
    assert mesh.find(np.zeros_like(picture), region, 0.5) is None
    with pytest.raises(ValueError, match="broadcast"):
        mesh.find(picture[:, :10], region, 0.5)
    assert mesh.find(picture, region, 0.5) is not None
