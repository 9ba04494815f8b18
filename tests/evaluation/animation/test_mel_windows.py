"""Mel windows against the features that training's shards contain."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from evaluation.animation.mel_windows import mel_windows, silent_window
from preprocessing.audio.mel import clip_mel, mel_features
from preprocessing.clips.cutting import cut_sound, read_loudness


@pytest.mark.parametrize("batch_frames", [1, 4, 50])
def test_mel_windows_equal_training_windows_of_the_whole(batch_frames: int) -> None:
    frames = 11
    sound = (0.1 * np.random.default_rng(3).normal(size=frames * 640)).astype(np.float32)
    silent = np.zeros((9, 80), np.float32)
    whole = np.concatenate([silent[:8], mel_features(sound), silent])
    expected = np.stack([whole[4 * t : 4 * t + 20].T[None] for t in range(frames)])
    chunks = list(mel_windows(sound, frames, batch_frames))
    assert [len(chunk) for chunk in chunks][:-1] == [batch_frames] * (len(chunks) - 1)
    np.testing.assert_allclose(np.concatenate(chunks), expected, atol=1e-6)


@pytest.mark.parametrize("first_frame", [0, 2, 14, 26])
def test_clip_has_the_windows_of_its_video(tmp_path: Path, first_frame: int) -> None:
    """Training, a clip as a driver, and `animate` with the whole sound hear the same."""
    lot = np.random.default_rng(3)
    levels = np.repeat([0.02, 0.2, 0.05], 10 * 640)  # of loudness
    sound = np.round(levels * lot.normal(size=30 * 640) * 2**15).astype(np.float32) / 2**15
    soundfile.write(tmp_path / "a.flac", sound, 16_000, subtype="PCM_16")
    cut, video_sound = cut_sound(tmp_path / "a.flac", first_frame, 4, read_loudness(tmp_path / "a.flac"))
    whole = np.concatenate(list(mel_windows(sound, 30, 7)))[first_frame : first_frame + 4]
    stored = clip_mel(cut, video_sound)
    in_training = np.stack([stored[4 * t : 4 * t + 20].T[None] for t in range(4)])
    np.testing.assert_allclose(in_training, whole, atol=1e-5)
    as_driver = np.concatenate(list(mel_windows(cut, 4, 3, video_sound)))
    np.testing.assert_allclose(as_driver, whole, atol=1e-5)


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
