"""Held against `preprocessing.audio.mel`, which training's shards come from."""

import numpy as np
import pytest

from evaluation.animation.mel_windows import loudness_of, mel_windows, silent_window
from preprocessing.audio.mel import mel_features
from training.data.draws import mel_window_rows


@pytest.mark.parametrize("frames_at_once", [1, 4, 50])
def test_windows_of_a_stream_are_those_that_training_takes_of_the_whole(frames_at_once: int) -> None:
    frames = 11
    sound = (0.1 * np.random.default_rng(3).normal(size=frames * 640)).astype(np.float32)
    whole = mel_features(sound)
    expected = np.stack([whole[mel_window_rows(t, frames)].T[None] for t in range(frames)])
    chunks = list(mel_windows(sound, frames, frames_at_once))
    assert [len(chunk) for chunk in chunks][:-1] == [frames_at_once] * (len(chunks) - 1)
    np.testing.assert_allclose(np.concatenate(chunks), expected, atol=1e-6)


def test_frames_beyond_the_sound_are_silent() -> None:
    sound = np.full(640, 0.5, np.float32)
    (windows,) = mel_windows(sound, 9, 16)
    assert (windows[6:] == silent_window()).all()
    assert windows[0].max() > 0.5


def test_an_impulse_in_the_middle_of_a_frame_stands_in_columns_10_to_17_of_its_window() -> None:
    sound = np.zeros(12 * 640, np.float32)
    sound[640 * 5 + 320] = 0.9
    (windows,) = mel_windows(sound, 12, 16)
    heard = np.flatnonzero(windows[5, 0].max(axis=0) > 0)
    assert (heard.min(), heard.max()) == (10, 17)


def test_loudness_is_the_root_mean_square() -> None:
    assert loudness_of(np.array([0.6, -0.8], np.float32)) == pytest.approx(0.5**0.5)
    assert loudness_of(np.zeros(0, np.float32)) == 0.0
