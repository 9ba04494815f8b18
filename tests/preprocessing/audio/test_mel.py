"""Mel features against the formula, computed with numpy frame by frame."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.audio.mel import loudness_of, mel_features, mel_rows


def slaney_mel(hertz: float) -> float:
    """Slaney's scale: linear below 1 kHz (200/3 Hz a mel), then a factor of 6.4 every 27 mels."""
    return hertz / (200 / 3) if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def slaney_hertz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def triangles() -> NDArray[np.float64]:
    """[80, 641]: triangles of area 1 (in hertz) between mels spaced evenly from 125 to 7600 Hz."""
    mels = np.linspace(slaney_mel(125), slaney_mel(7600), 82)
    corners = [slaney_hertz(mel) for mel in mels]
    bins = np.arange(641) * 16000 / 1280
    rows = []
    for low, middle, high in zip(corners, corners[1:], corners[2:], strict=False):
        shape = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
        rows.append(np.maximum(0, shape) * 2 / (high - low))
    return np.array(rows)


def expected_features(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    samples = sound.astype(np.float64)
    samples = samples * 0.1 / max(1e-4, math.sqrt(np.mean(samples**2)))
    frames = math.ceil(len(samples) / 160) + 7
    padded = np.zeros(1280 + 160 * (frames - 1))
    padded[1120 : 1120 + len(samples)] = samples
    window = np.sqrt(0.5 * (1 - np.cos(2 * np.pi * (np.arange(1280) + 0.5) / 1280))) / 2
    spectra = [np.abs(np.fft.rfft(window * padded[160 * j : 160 * j + 1280])) for j in range(frames)]
    decibels = 20 * np.log10(np.maximum(1e-5, np.array(spectra) @ triangles().T)) - 20
    return np.clip((decibels + 100) / 100, 0, 1)


@pytest.mark.parametrize("samples", [16000, 15999, 16001, 641])
def test_mel_features_match_the_formula(samples: int) -> None:
    rng = np.random.default_rng(samples)
    time = np.arange(samples) / 16000
    sound = (0.2 * np.sin(2 * np.pi * 700 * time) + 0.02 * rng.normal(size=samples)).astype(np.float32)
    features = mel_features(sound)
    assert features.dtype == np.float32
    assert features.shape == (math.ceil(samples / 160) + 7, 80)
    np.testing.assert_allclose(features, expected_features(sound), atol=1e-6)


def test_mel_features_of_silence_are_zero() -> None:
    np.testing.assert_array_equal(mel_features(np.zeros(6400, np.float32)), np.zeros((47, 80)))


def test_mel_features_normalise_loudness() -> None:
    sound = np.random.default_rng(0).normal(0, 0.05, 6400).astype(np.float32)
    np.testing.assert_allclose(mel_features(sound), mel_features(4 * sound), atol=1e-5)


def test_window_of_a_video_frame_is_centred_35_ms_before_it() -> None:
    """Frame t has mel rows 4 (t - 2) to 4 (t - 2) + 19; a click is in their middle."""
    frame = 10
    sound = np.zeros(40 * 640, np.float32)
    sound[frame * 640 + 320 - 560] = 1.0  # 35 ms before the middle of the video frame
    window = mel_features(sound)[4 * (frame - 2) : 4 * (frame - 2) + 20].sum(axis=1)
    rows = np.flatnonzero(window > 0)
    # The click is in the eight rows whose 1280 samples contain it.
    assert (rows[0], rows[-1]) == (6, 13)


def test_mel_row_covers_the_documented_samples() -> None:
    sound = np.zeros(3200, np.float32)
    sound[1600] = 1.0
    rows = np.flatnonzero(mel_features(sound).sum(axis=1) > 0)
    # Row j covers samples 160 (j - 7) to 160 (j + 1): 1600 is in rows 10 to 17.
    assert rows.tolist() == list(range(10, 18))


@pytest.mark.parametrize(("first", "end"), [(-3, 5), (0, 20), (15, 60)])
def test_mel_rows_equal_rows_of_the_whole(first: int, end: int) -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, 6400).astype(np.float32)
    silent = np.zeros((60, 80), np.float32)
    whole = np.concatenate([silent, mel_features(sound), silent])
    rows = mel_rows(sound, first, end, loudness_of(sound))
    np.testing.assert_allclose(rows, whole[60 + first : 60 + end], atol=1e-6)


def test_loudness_is_the_root_mean_square() -> None:
    assert loudness_of(np.array([0.6, -0.8], np.float32)) == pytest.approx(0.5**0.5)
    assert loudness_of(np.zeros(0, np.float32)) == 0.0
