"""Mel-frequency cepstral coefficients as SyncNet was trained on them: python_speech_features' defaults.

Window 25 ms, step 10 ms, no window function, FFT of 512, 26 filters from 0 Hz to half the rate,
pre-emphasis .97, 13 coefficients, lifter 22, the logarithm of the energy in coefficient 0; samples in
the int16 range.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.schema import SAMPLE_RATE_HZ

WINDOW_SAMPLES: Final = 400
STEP_SAMPLES: Final = 160
FFT_SIZE: Final = 512
FILTER_COUNT: Final = 26
MFCC_COUNT: Final = 13
LIFTER: Final = 22
PRE_EMPHASIS: Final = 0.97
FLOOR: Final = float(np.finfo(np.float64).eps)  # replaces a power of zero before the logarithm
FULL_SCALE: Final = 32_768.0


def mfcc(samples: NDArray[np.float32] | NDArray[np.int16]) -> NDArray[np.float64]:
    """Compute the MFCC of a sound.

    Args:
        samples: [n] mono at 16 kHz, int16, or float32 in [-1, 1], which is rounded to int16 first, as the
            protocol reads a 16-bit file.

    Returns:
        [1 + ceil((n - 400) / 160), 13], at least one row, 100 a second; row j covers the samples 160 j
        to 160 j + 399, zero-padded.

    Raises:
        ValueError: the samples are empty or of another shape or type.
    """
    from scipy.fft import dct  # slow to import, and the settings forms load this module

    signal = int16_range(samples)
    emphasised = np.append(signal[0], signal[1:] - PRE_EMPHASIS * signal[:-1])
    power = np.abs(np.fft.rfft(framed(emphasised), FFT_SIZE)) ** 2 / FFT_SIZE
    energy = floored(power.sum(axis=1))
    logarithms = np.log(floored(power @ mel_filters().T))
    coefficients = np.asarray(dct(logarithms, type=2, axis=1, norm="ortho"), np.float64)[:, :MFCC_COUNT]
    places = np.arange(MFCC_COUNT)
    coefficients = coefficients * (1.0 + LIFTER / 2.0 * np.sin(np.pi * places / LIFTER))
    coefficients[:, 0] = np.log(energy)
    return coefficients


def int16_range(samples: NDArray[np.float32] | NDArray[np.int16]) -> NDArray[np.float64]:
    """Convert to whole numbers in -32768 to 32767, as float64.

    Raises:
        ValueError: as `mfcc`.
    """
    if samples.ndim != 1 or len(samples) == 0:
        raise ValueError(f"samples must be [n] with n >= 1, got {list(samples.shape)}")
    if samples.dtype == np.int16:
        return samples.astype(np.float64)
    if samples.dtype != np.float32:
        raise ValueError(f"samples must be int16 or float32, got {samples.dtype}")
    scaled = np.round(samples.astype(np.float64) * FULL_SCALE)
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1.0)


def framed(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n] -> [windows, 400], the last one zero-padded."""
    count = 1 + max(0, -(-(len(signal) - WINDOW_SAMPLES) // STEP_SAMPLES))
    length = (count - 1) * STEP_SAMPLES + WINDOW_SAMPLES
    padded = np.pad(signal, (0, length - len(signal)))
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::STEP_SAMPLES]


def floored(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace zeros by the floor, and nothing else."""
    return np.where(values == 0.0, FLOOR, values)


@cache
def mel_filters() -> NDArray[np.float64]:
    """[26, 257] triangles of height 1 between FFT bins, evenly spaced in mel."""
    highest_mel = 2595.0 * np.log10(1.0 + SAMPLE_RATE_HZ / 2 / 700.0)
    edges_hz = 700.0 * (10.0 ** (np.linspace(0.0, highest_mel, FILTER_COUNT + 2) / 2595.0) - 1.0)
    edges = np.floor((FFT_SIZE + 1) * edges_hz / SAMPLE_RATE_HZ)
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    places = np.arange(FFT_SIZE // 2 + 1)[None]
    rising = np.where((places >= left) & (places < middle), (places - left) / (middle - left), 0.0)
    falling = np.where((places >= middle) & (places < right), (right - places) / (right - middle), 0.0)
    return np.asarray(rising + falling, np.float64)
