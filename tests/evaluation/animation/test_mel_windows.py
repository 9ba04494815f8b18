"""Mel windows against the features that training's shards contain."""

import numpy as np
import pytest

from evaluation.animation.mel_windows import mel_windows, silent_window
from preprocessing.audio.mel import mel_features
from training.data.draws import mel_window_rows


@pytest.mark.parametrize("batch_frames", [1, 4, 50])
def test_mel_windows_equal_training_windows_of_the_whole(batch_frames: int) -> None:
    frames = 11
    sound = (0.1 * np.random.default_rng(3).normal(size=frames * 640)).astype(np.float32)
    whole = mel_features(sound)
    expected = np.stack([whole[mel_window_rows(t, frames)].T[None] for t in range(frames)])
    chunks = list(mel_windows(sound, frames, batch_frames))
    assert [len(chunk) for chunk in chunks][:-1] == [batch_frames] * (len(chunks) - 1)
    np.testing.assert_allclose(np.concatenate(chunks), expected, atol=1e-6)


def test_mel_windows_beyond_the_sound_are_silent() -> None:
    sound = np.full(640, 0.5, np.float32)
    (windows,) = mel_windows(sound, 9, 16)
    assert (windows[6:] == silent_window()).all()
    assert windows[0].max() > 0.5


def test_mel_window_is_centred_before_its_frame() -> None:
    sound = np.zeros(12 * 640, np.float32)
    sound[640 * 5 + 320] = 0.9
    (windows,) = mel_windows(sound, 12, 16)
    columns = np.flatnonzero(windows[5, 0].max(axis=0) > 0)
    assert (columns.min(), columns.max()) == (10, 17)
