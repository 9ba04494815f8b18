"""Mouth movement against speech energy: offsets and their sign, what is not scored."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from preprocessing.labellers.lip_sync.energy import LipSyncSettings, correlation_by_shift, score_lip_sync


def talking(
    frames: int, sound_late_frames: int, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A mouth that opens at random, and a hum whose strength follows it so many frames later."""
    random = np.random.default_rng(seed)
    opening = np.abs(gaussian_filter1d(random.normal(size=frames + 60), 1.2))
    mouth = opening[30 : 30 + frames]
    strength = np.repeat(opening[30 - sound_late_frames : 30 - sound_late_frames + frames], 640)
    hum = np.sin(2 * np.pi * 800.0 * np.arange(frames * 640) / 16_000)
    return mouth.astype(np.float32), (0.3 * strength * hum).astype(np.float32)


@pytest.mark.parametrize("late", [-9, 0, 7])
def test_late_sound_has_a_positive_offset(late: int) -> None:
    scores = score_lip_sync(*talking(64, late))
    assert scores["offset_frames"] == late
    assert scores["correlation"] > 0.9
    assert scores["confidence"] > 0.7


def test_unrelated_sound_has_low_confidence() -> None:
    mouth, _ = talking(64, 0, seed=1)
    _, sound = talking(64, 0, seed=2)
    assert score_lip_sync(mouth, sound)["confidence"] < 0.6


def test_score_is_independent_of_loudness() -> None:
    mouth, sound = talking(64, 3)
    loud, quiet = score_lip_sync(mouth, sound), score_lip_sync(mouth, 0.1 * sound)
    assert loud == pytest.approx(quiet, abs=1e-6)


def test_silent_still_and_short_clips_are_not_scored() -> None:
    mouth, sound = talking(64, 0)
    assert score_lip_sync(mouth, np.zeros_like(sound)) == {}
    assert score_lip_sync(np.full_like(mouth, 0.1), sound) == {}
    assert score_lip_sync(mouth[:20], sound[: 20 * 640]) == {}


def test_curve_has_a_correlation_for_every_shift() -> None:
    curve = correlation_by_shift(*talking(64, 0), LipSyncSettings())
    assert curve is not None
    assert curve.shape == (31,)
    assert np.abs(curve).max() <= 1.0


def test_sound_of_the_wrong_length_is_refused() -> None:
    mouth, sound = talking(64, 0)
    with pytest.raises(ValueError, match="64 frames need 40960 samples"):
        score_lip_sync(mouth, sound[:-1])
