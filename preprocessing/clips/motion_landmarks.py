"""Motion landmarks: hashes of a face's turning points by which copies with another sound are found.

A dubbed copy shows the same face with another sound, perhaps encoded again, scaled, cut or mirrored. Where
mouth, lids, brows and head stop and turn back stays the same. A landmark is four such events that follow each
other; its hash holds what turned and the frames between them. As with those of `sound_landmarks`, whose table
they share, which ones of a long video are kept depends on their hashes alone.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.audio.sound_landmarks import MOTION_BIT
from preprocessing.faces.shape.landmark_groups import (
    IMAGE_LEFT_EYE_CORNERS,
    IMAGE_LEFT_EYEBROW,
    IMAGE_LEFT_LOWER_LID,
    IMAGE_LEFT_UPPER_LID,
    IMAGE_RIGHT_EYE_CORNERS,
    IMAGE_RIGHT_EYEBROW,
    IMAGE_RIGHT_LOWER_LID,
    IMAGE_RIGHT_UPPER_LID,
    INNER_LIP_LOWER_MIDDLE,
    INNER_LIP_UPPER_MIDDLE,
    MOUTH_CORNERS,
)

VERSION: Final = "1"
NOSE_TIP: Final = 1
CHIN: Final = 152
SMOOTH_FRAMES: Final = 1.5  # standard deviation of the Gaussian
# Mouth opening and width, lids, brows, nose aside and down, chin, roll: in distances between the eyes, rad.
MINIMUM_MOTION: Final = np.array([0.010, 0.008, 0.010, 0.008, 0.010, 0.010, 0.015, 0.010])
MIRRORED: Final = np.array([0, 0, 0, 0, 1, 0, 0, 1], bool)  # a mirror changes the sign
NEXT_EVENTS: Final = 6  # that an event is combined with
LONGEST_FRAMES: Final = 31  # from the first event to the last
KEPT_SHARE: Final = 4  # one landmark of so many is kept, by its hash, of a face that is shown for long
SHORT_FRAMES: Final = 750


def measure_motion(landmarks_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """What moves in a face, [T, 8] of landmarks [T, 478, 3] px: independent of its place and size."""

    def middle(points: Sequence[int]) -> NDArray[np.float64]:
        return landmarks_px[:, list(points), :2].astype(np.float64).mean(axis=1)

    left, right = middle(IMAGE_LEFT_EYE_CORNERS), middle(IMAGE_RIGHT_EYE_CORNERS)
    across = right - left
    size = np.maximum(np.linalg.norm(across, axis=1), 1e-6)
    centre = (left + right) / 2

    def gap(one: Sequence[int], other: Sequence[int]) -> NDArray[np.float64]:
        return np.linalg.norm(middle(one) - middle(other), axis=1) / size

    def aside(point: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((point - centre) * across).sum(axis=1) / size**2

    def down(point: NDArray[np.float64]) -> NDArray[np.float64]:
        offset = point - centre
        return (across[:, 0] * offset[:, 1] - across[:, 1] * offset[:, 0]) / size**2

    lids = gap(IMAGE_LEFT_UPPER_LID, IMAGE_LEFT_LOWER_LID), gap(IMAGE_RIGHT_UPPER_LID, IMAGE_RIGHT_LOWER_LID)
    motion = [
        gap(INNER_LIP_UPPER_MIDDLE, INNER_LIP_LOWER_MIDDLE),
        gap(MOUTH_CORNERS[:1], MOUTH_CORNERS[1:]),
        (lids[0] + lids[1]) / 2,
        (down(middle(IMAGE_LEFT_EYEBROW)) + down(middle(IMAGE_RIGHT_EYEBROW))) / 2,
        aside(middle([NOSE_TIP])),
        down(middle([NOSE_TIP])),
        down(middle([CHIN])),
        np.arctan2(across[:, 1], across[:, 0]),
    ]
    return np.stack(motion, axis=1).astype(np.float32)


def find_motion_landmarks(
    pieces: Sequence[tuple[int, int, NDArray[np.float32]]],
) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Landmarks of the faces of one video, about 7 a frame, a quarter of it where they are shown for long.

    Args:
        pieces: track, first frame and `measure_motion` of each clip; those that follow each other are joined.

    Returns:
        Hashes [L] from `MOTION_BIT` on, ascending, and the frames [L] of their first events.
    """
    hashes, frames = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first_frame, motion in _joined(pieces):
        kinds, times = _events(motion)
        for steps in combinations(range(1, NEXT_EVENTS + 1), 3):
            count = max(0, len(times) - steps[2])
            places = [slice(step, step + count) for step in (0, *steps)]
            packed = np.zeros(count, np.int64)
            for place in places:
                packed = (packed << 4) | kinds[place]
            since = [np.rint(times[place] - times[:count]).astype(np.int64) for place in places[1:]]
            for frames_since in since:
                packed = (packed << 5) | np.minimum(frames_since, 31)
            is_short = since[2] <= LONGEST_FRAMES
            hashes.append(packed[is_short] | MOTION_BIT)
            frames.append(np.rint(first_frame + times[:count][is_short]).astype(np.int64))
    packed, when = np.concatenate(hashes).astype(np.uint32), np.concatenate(frames).astype(np.int32)
    mixed = (packed * np.uint32(2654435761)) >> np.uint32(16)  # Knuth's multiplicative hash
    is_short = sum(len(motion) for _, _, motion in pieces) <= SHORT_FRAMES
    kept = (mixed % KEPT_SHARE == 0) | is_short
    order = np.lexsort((when[kept], packed[kept]))
    return packed[kept][order], when[kept][order]


def _joined(
    pieces: Sequence[tuple[int, int, NDArray[np.float32]]],
) -> list[tuple[int, NDArray[np.float32]]]:
    """First frame and motion of each face for as long as it is shown without a gap."""
    runs: list[tuple[int, int, list[NDArray[np.float32]]]] = []
    for track, first_frame, motion in sorted(pieces, key=lambda piece: piece[:2]):
        if runs and runs[-1][0] == track and runs[-1][1] + sum(map(len, runs[-1][2])) == first_frame:
            runs[-1][2].append(motion)
        else:
            runs.append((track, first_frame, [motion]))
    return [(first_frame, np.concatenate(parts)) for _, first_frame, parts in runs]


def _events(motion: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Kind, 0 to 15, and frame of each turning point of motion [T, 8], in the order of time."""
    from scipy.ndimage import gaussian_filter1d

    kinds, times = [np.zeros(0, np.int64)], [np.zeros(0)]
    smooth = gaussian_filter1d(motion.astype(np.float64), SMOOTH_FRAMES, axis=0)
    for curve, is_mirrored, number in zip(smooth.T, MIRRORED, range(len(MIRRORED)), strict=True):
        steps = np.diff(curve)
        turns = np.flatnonzero(steps[:-1] * steps[1:] < 0.0) + 1
        ends = np.concatenate([[0], turns, [len(curve) - 1]])
        heights = np.abs(np.diff(curve[ends]))
        turns = turns[np.minimum(heights[:-1], heights[1:]) >= MINIMUM_MOTION[number]]
        before, here, after = curve[turns - 1], curve[turns], curve[turns + 1]
        times.append(turns + 0.5 * (before - after) / (before - 2.0 * here + after))  # of the parabola
        is_top = (here > before) & ~is_mirrored
        kinds.append(2 * number + is_top.astype(np.int64))
    when = np.concatenate(times)
    order = np.argsort(when, kind="stable")
    return np.concatenate(kinds)[order], when[order]
