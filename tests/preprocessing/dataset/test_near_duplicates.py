"""Videos with the same recording, found in the landmarks of batches."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.audio.sound_landmarks import LANDMARKS_TABLE, MOTION_BIT, TIME_SECONDS, write_landmarks
from preprocessing.dataset.near_duplicates import MAXIMUM_OCCURRENCES, find_near_duplicates

Landmarks = tuple[NDArray[np.uint32], NDArray[np.int32]]


def landmarks(seed: int, count: int = 200) -> Landmarks:
    rng = np.random.default_rng(seed)
    hashes = np.sort(rng.integers(0, 2**31, count)).astype(np.uint32)
    return hashes, rng.integers(0, 500, count).astype(np.int32)


def batch(folder: Path, **videos: Landmarks) -> Path:
    folder.mkdir()
    write_landmarks(videos, folder)
    return folder / LANDMARKS_TABLE


def copy_of(original: Landmarks, later: int, every: int = 4) -> Landmarks:
    """Every n-th landmark of another video, so many units later, among its own."""
    own = landmarks(99)
    hashes = np.concatenate([own[0], original[0][::every]])
    times = np.concatenate([own[1], original[1][::every] + later]).astype(np.int32)
    return hashes, times


@pytest.mark.parametrize("landmarks_a_pass", [8_000_000, 60], ids=["one pass", "many passes"])
def test_copies_are_found_within_and_across_batches(tmp_path: Path, landmarks_a_pass: int) -> None:
    a, b = landmarks(1), landmarks(2)
    tables = [
        batch(tmp_path / "b0", a=a, b=b, c=copy_of(a, 30)),
        batch(tmp_path / "b1", d=copy_of(b, -7), e=landmarks(3)),
        batch(tmp_path / "b2"),
    ]
    found = find_near_duplicates(tables, landmarks_a_pass)
    assert [(each.video_id, each.other_video_id) for each in found] == [("a", "c"), ("b", "d"), ("c", "d")]
    assert found[0].landmarks == found[1].landmarks == 50
    assert found[0].offset_seconds == pytest.approx(-30 * TIME_SECONDS)
    assert found[1].offset_seconds == pytest.approx(7 * TIME_SECONDS)
    assert found[2].landmarks == 200  # of what both have of their own
    assert found[0].seconds == pytest.approx(float(np.ptp(a[1][::4])) * TIME_SECONDS)


def test_dubbed_copy_is_found_by_the_motion_of_its_face(tmp_path: Path) -> None:
    face = landmarks(7, count=40)
    moves = face[0] + np.uint32(MOTION_BIT), np.arange(40, dtype=np.int32) * 5
    dubbed = moves[0], moves[1] + 10
    spoken = landmarks(8), landmarks(9)
    both = [
        (np.concatenate([sound[0], motion[0]]), np.concatenate([sound[1], motion[1]]).astype(np.int32))
        for sound, motion in zip(spoken, (moves, dubbed), strict=True)
    ]
    few = moves[0][:15], moves[1][:15]  # enough for sound
    tables = [batch(tmp_path / "b0", a=both[0], c=few), batch(tmp_path / "b1", b=both[1])]
    (found,) = find_near_duplicates(tables)
    assert (found.video_id, found.other_video_id, found.found_by) == ("a", "b", "motion")
    assert (found.landmarks, found.offset_seconds) == (40, pytest.approx(-0.4))
    copy = batch(tmp_path / "b2", a=both[0], b=both[0])
    assert [each.found_by for each in find_near_duplicates([copy])] == ["sound"]


def test_few_or_close_or_scattered_landmarks_are_no_copy(tmp_path: Path) -> None:
    a = landmarks(1)
    few = a[0][::50], a[1][::50]
    close = a[0], np.full(200, 3, np.int32)
    scattered = a[0], np.random.default_rng(0).permutation(20_000)[:200].astype(np.int32)
    for number, other in enumerate((few, close, scattered)):
        assert find_near_duplicates([batch(tmp_path / str(number), a=a, b=other)]) == []


def test_frequent_hashes_tell_nothing(tmp_path: Path) -> None:
    jingle = landmarks(1)
    many = {f"video{number:02d}": jingle for number in range(MAXIMUM_OCCURRENCES + 1)}
    assert find_near_duplicates([batch(tmp_path / "b0", **many)]) == []


def test_no_batches_have_no_copies() -> None:
    assert find_near_duplicates([]) == []
