"""Motion landmarks of a copy are those of its original, whatever its size, noise, mirror and beginning."""

import numpy as np
from numpy.typing import NDArray

from preprocessing.audio.sound_landmarks import MOTION_BIT
from preprocessing.clips.motion_landmarks import find_motion_landmarks, measure_motion
from preprocessing.faces.shape.landmark_groups import (
    IMAGE_LEFT_EYE_CORNERS,
    IMAGE_RIGHT_EYE_CORNERS,
    INNER_LIP_LOWER_MIDDLE,
    MOUTH_CORNERS,
)
from tests.factories.preprocessing.published_steps import frontal_landmarks

Array = NDArray[np.float32]


def talking(frames: int, seed: int) -> Array:
    """[T, 478, 3] of a face whose head nods and turns and whose mouth opens, in random waves."""
    from scipy.ndimage import gaussian_filter1d

    waves = gaussian_filter1d(np.random.default_rng(seed).normal(size=(frames, 4)), 2.5, axis=0) * 4.0
    landmarks_px = frontal_landmarks(frames).astype(np.float64)
    landmarks_px[:, 1, 0] += 6 * waves[:, 0]
    landmarks_px[:, 1, 1] += 6 * waves[:, 1]
    landmarks_px[:, list(INNER_LIP_LOWER_MIDDLE), 1] += 8 + 8 * np.abs(waves[:, 2:3])
    landmarks_px[:, MOUTH_CORNERS[0], 0] += 4 * waves[:, 3]
    return landmarks_px.astype(np.float32)


def mirrored(landmarks_px: Array) -> Array:
    """As a tracker finds them: image-left points are those of the other side."""
    flipped = landmarks_px.copy()
    flipped[..., 0] = 224.0 - landmarks_px[..., 0]
    for left, right in (
        *zip(IMAGE_LEFT_EYE_CORNERS, IMAGE_RIGHT_EYE_CORNERS, strict=True),
        MOUTH_CORNERS,
    ):
        flipped[:, [left, right]] = flipped[:, [right, left]]
    return flipped


def shared(one: Array, other: Array, start: int) -> dict[int, int]:
    """Number of common landmarks by the frames between them; `other` begins at frame `start` of its video."""
    hashes, frames = find_motion_landmarks([(0, 0, measure_motion(one))])
    found: dict[int, int] = {}
    for each, frame in zip(*find_motion_landmarks([(3, start, measure_motion(other))]), strict=True):
        for same in np.flatnonzero(hashes == each):
            offset = int(frames[same] - frame)
            found[offset] = found.get(offset, 0) + 1
    return found


def test_copy_that_is_cut_smaller_and_mirrored_keeps_landmarks() -> None:
    original = talking(100, seed=0)
    noise = np.random.default_rng(1).normal(scale=0.1, size=(60, 478, 3)).astype(np.float32)
    copy = 0.5 * original[30:90] + noise / 4
    for each in (copy, mirrored(original[30:90])):
        found = shared(original, each, start=7)
        assert found[23] + found.get(24, 0) + found.get(22, 0) >= 16, found


def test_other_motion_shares_no_aligned_landmarks() -> None:
    assert max(shared(talking(100, seed=0), talking(100, seed=5), 0).values(), default=0) < 16


def test_pieces_of_a_track_are_joined_and_others_are_not() -> None:
    motion = measure_motion(talking(100, seed=0))
    whole = find_motion_landmarks([(0, 5, motion)])
    pieces = find_motion_landmarks([(0, 45, motion[40:]), (0, 5, motion[:40])])
    np.testing.assert_array_equal(whole[0], pieces[0])
    np.testing.assert_array_equal(whole[1], pieces[1])
    assert len(find_motion_landmarks([(0, 5, motion[:40]), (1, 45, motion[40:])])[0]) < len(whole[0])
    assert (whole[0] >= MOTION_BIT).all()
    assert (np.diff(whole[0].astype(np.int64)) >= 0).all()


def test_face_that_does_not_move_has_no_landmarks() -> None:
    still = measure_motion(frontal_landmarks(100))
    assert len(find_motion_landmarks([(0, 0, still)])[0]) == 0
    assert len(find_motion_landmarks([])[0]) == 0


def test_long_videos_keep_a_quarter() -> None:
    motion = measure_motion(talking(800, seed=2))
    short = len(find_motion_landmarks([(0, 0, motion[:740])])[0])
    assert 0.15 * short < len(find_motion_landmarks([(0, 0, motion)])[0]) < 0.35 * short
