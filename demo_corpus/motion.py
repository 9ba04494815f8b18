"""Motion of a head over time: smooth seeded curves, saccades, blinks, at 25 frames a second.

Pose, gaze, blinks, mouth and expression are sampled independently of each other. The slow curves are
sums of sines, and each frequency belongs to one curve only: over a whole video they are orthogonal, so
that even in a short video no two of them correlate by chance. Smile and brows add moods to theirs: levels
that are held for seconds, as the expression code of the method is a mean over seconds.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.schema import FRAMES_PER_SECOND

PITCH_LIMIT_RAD: Final = float(np.deg2rad(15.0))
YAW_LIMIT_RAD: Final = float(np.deg2rad(25.0))
ROLL_LIMIT_RAD: Final = float(np.deg2rad(10.0))
GAZE_PITCH_LIMIT_RAD: Final = float(np.deg2rad(15.0))
GAZE_YAW_LIMIT_RAD: Final = float(np.deg2rad(20.0))
SHIFT_LIMIT_CM: Final = np.array([1.2, 0.8, 3.0])
# The head rotates about the upper end of the neck, below and behind the eyes.
NECK_PIVOT_CM: Final = np.array([0.0, -4.0, -9.0])
SINES_PER_CURVE: Final = 3
MOOD_SHARE: Final = 0.7
"""Of the range of smile and brows; the rest is a slow curve on top."""
MOOD_SECONDS: Final = (2.0, 4.0)
MOOD_CHANGE_SECONDS: Final = 0.4


@dataclass(frozen=True)
class HeadMotion:
    """One row per frame."""

    angles_rad: NDArray[np.float64] = field(repr=False)  # [T, 3] pitch, yaw, roll, filming camera
    shift_cm: NDArray[np.float64] = field(repr=False)  # [T, 3] of the neck pivot
    gaze_rad: NDArray[np.float64] = field(repr=False)  # [T, 2] pitch, yaw, head coordinates
    blink: NDArray[np.float64] = field(repr=False)  # [T, 2] image-left, image-right
    smile: NDArray[np.float64] = field(repr=False)  # [T] 0..1
    brow_raise: NDArray[np.float64] = field(repr=False)  # [T] 0..1


def draw_motion(rng: np.random.Generator, frame_count: int, long_shut: bool) -> HeadMotion:
    """Sample the motion of one video; `long_shut`: the eyes are shut once for about a second."""
    curves = slow_curves(rng, frame_count, 8)
    limits = np.array([PITCH_LIMIT_RAD, YAW_LIMIT_RAD, ROLL_LIMIT_RAD])
    gaze_rad = saccades(rng, frame_count)
    blink = blinks(rng, frame_count, long_shut)
    lowest = (1 - MOOD_SHARE) / 2
    expression = lowest + MOOD_SHARE * moods(rng, frame_count, 2) + lowest * curves[:, 6:8]
    return HeadMotion(
        angles_rad=curves[:, :3] * limits,
        shift_cm=curves[:, 3:6] * SHIFT_LIMIT_CM,
        gaze_rad=gaze_rad,
        blink=blink,
        smile=expression[:, 0],
        brow_raise=expression[:, 1],
    )


def slow_curves(rng: np.random.Generator, frame_count: int, count: int) -> NDArray[np.float64]:
    """[T, count] curves within -1..1, below about 1.7 Hz, mutually orthogonal over the video."""
    seconds = frame_count / FRAMES_PER_SECOND
    # Sine and cosine of each harmonic of the video's length are mutually orthogonal.
    basis = np.arange(count * SINES_PER_CURVE)
    harmonic = 1 + basis // 2
    phase = 2 * np.pi * harmonic * (np.arange(frame_count)[:, None] / frame_count) + (basis % 2) * np.pi / 2
    waves = np.sin(phase)
    # A head moves less the faster it turns: amplitude falls with frequency beyond 0.4 Hz.
    strength = 1 / np.sqrt(1 + (harmonic / seconds / 0.4) ** 2) * rng.uniform(0.5, 1.0, len(basis))
    # Each curve gets one slow, one medium and one fast wave, shuffled between curves.
    assigned = np.concatenate([rng.permutation(block) for block in basis.reshape(SINES_PER_CURVE, count)])
    curves = np.zeros((frame_count, count))
    for position, wave in enumerate(assigned):
        sign = rng.choice([-1.0, 1.0])
        curves[:, position % count] += sign * strength[wave] * waves[:, wave]
    return curves / np.abs(curves).max(axis=0) * rng.uniform(0.75, 1.0, count)


def moods(rng: np.random.Generator, frame_count: int, count: int) -> NDArray[np.float64]:
    """[T, count] levels within 0..1, each held for 2 to 4 s, with smooth changes between them."""
    times = np.arange(frame_count) / FRAMES_PER_SECOND
    result = np.empty((frame_count, count))
    for number in range(count):
        level = rng.uniform()
        result[:, number] = level
        # The first is under way when the video begins.
        change = rng.uniform(0.0, MOOD_SECONDS[1])
        while change < times[-1]:
            progress = np.clip((times - change) / MOOD_CHANGE_SECONDS, 0.0, 1.0)
            following = rng.uniform()
            result[:, number] += (following - level) * progress**2 * (3 - 2 * progress)
            level = following
            change += rng.uniform(*MOOD_SECONDS)
    return result


def saccades(rng: np.random.Generator, frame_count: int) -> NDArray[np.float64]:
    """[T, 2] gaze pitch and yaw: fixations of 0.3 to 1.2 s, jumps within two frames between them."""
    limits = np.array([GAZE_PITCH_LIMIT_RAD, GAZE_YAW_LIMIT_RAD])
    gaze = np.zeros((frame_count, 2))
    frame = 0
    while frame < frame_count:
        length = int(rng.uniform(0.3, 1.2) * FRAMES_PER_SECOND)
        gaze[frame : frame + length] = rng.uniform(-1, 1, 2) * limits
        frame += length
    # A saccade of 20 degrees lasts about 60 ms: one frame in between has the eye in motion.
    before = np.concatenate([gaze[:1], gaze[:-1]])
    return (gaze + before) / 2


def blinks(rng: np.random.Generator, frame_count: int, long_shut: bool) -> NDArray[np.float64]:
    """[T, 2] blinks of 0.2 to 0.3 s every 2 to 4 s, every fourth a wink, the second long if `long_shut`."""
    seconds = frame_count / FRAMES_PER_SECOND
    times = np.arange(frame_count) / FRAMES_PER_SECOND
    blink = np.zeros((frame_count, 2))
    start = rng.uniform(0.3, 1.5)
    number = 0
    while start < seconds:
        held = rng.uniform(0.8, 1.3) if long_shut and number == 1 else 0.04
        closing = rng.uniform(0.07, 0.10)
        opening = rng.uniform(0.11, 0.16)
        shut = np.interp(times - start, [0, closing, closing + held, closing + held + opening], [0, 1, 1, 0])
        shut[times > start + closing + held + opening] = 0.0
        eyes = np.array([1.0, 1.0])
        if number % 4 == 3:
            eyes[rng.integers(2)] = 0.0
        blink = np.maximum(blink, shut[:, None] * eyes)
        start += held + rng.uniform(2.0, 4.0)
        number += 1
    return np.asarray(blink * blink * (3 - 2 * blink), np.float64)
