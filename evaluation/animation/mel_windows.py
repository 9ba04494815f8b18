"""The audio network's input for every video frame of a sound of any length, a few frames at a time.

The features are `preprocessing.audio.mel`'s, with the whole sound's loudness and without its whole
spectrum in memory; a test holds the two together.
"""

import math
from collections.abc import Iterator
from functools import cache
from typing import Final

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray

from preprocessing.audio.mel import (
    AMPLITUDE_FLOOR,
    HIGHEST_HZ,
    HOP_SAMPLES,
    LOWEST_HZ,
    RANGE_DECIBELS,
    REFERENCE_DECIBELS,
    RMS_FLOOR,
    TARGET_RMS,
    WINDOW_SAMPLES,
)
from preprocessing.schema import MEL_BANDS, SAMPLE_RATE_HZ
from training.data.batches import MEL_WINDOW_FRAMES
from training.data.draws import mel_window_rows

_ROWS_BEFORE: Final = WINDOW_SAMPLES // HOP_SAMPLES - 1  # row j begins 7 hops before sample 160 j


def loudness_of(sound: NDArray[np.float32]) -> float:
    """Root mean square of a sound [n], summed a million samples at a time; 0 of none."""
    total = sum(
        float((sound[start : start + 2**20].astype(np.float64) ** 2).sum())
        for start in range(0, len(sound), 2**20)
    )
    return math.sqrt(total / max(1, len(sound)))


def mel_windows(
    sound: NDArray[np.float32], frames: int, frames_at_once: int, loudness: float | None = None
) -> Iterator[NDArray[np.float32]]:
    """Mel windows of video frames 0 to `frames` - 1, as training takes them.

    Frame t covers samples 640 t to 640 (t + 1); its window is mel rows 4 (t - 2) to 4 (t - 2) + 19, whose
    centre is 35 ms before the frame's, as the released networks were trained. Beyond the sound is silence.

    Args:
        sound: [n] mono at 16 kHz.
        frames: how many.
        frames_at_once: of one array.
        loudness: of the whole sound; measured if None.

    Yields:
        [frames_at_once or what is left, 1, 80, 20] in [0, 1].
    """
    gain = TARGET_RMS / max(RMS_FLOOR, loudness_of(sound) if loudness is None else loudness)
    for start in range(0, frames, frames_at_once):
        rows = np.stack(
            [mel_window_rows(t, frames) for t in range(start, min(frames, start + frames_at_once))]
        )
        first = int(rows.min())
        values = _mel_rows(sound, first, int(rows.max()) + 1, gain)
        yield np.ascontiguousarray(values[rows - first].transpose(0, 2, 1))[:, None]


def silent_window() -> NDArray[np.float32]:
    """[1, 1, 80, 20] of silence: zeros, 100 dB below the reference."""
    return np.zeros((1, 1, MEL_BANDS, MEL_WINDOW_FRAMES), np.float32)


def _mel_rows(sound: NDArray[np.float32], first: int, end: int, gain: float) -> NDArray[np.float32]:
    """Mel rows `first` to `end` - 1: [end - first, 80] in [0, 1]; row j starts at sample 160 (j - 7)."""
    begin, stop = HOP_SAMPLES * (first - _ROWS_BEFORE), HOP_SAMPLES * end
    inside = sound[max(0, begin) : max(0, min(len(sound), stop))].astype(np.float64)
    samples = np.zeros(stop - begin)
    samples[max(0, -begin) : max(0, -begin) + len(inside)] = inside
    offsets = torch.arange(WINDOW_SAMPLES, dtype=torch.float64) + 0.5
    hann = 0.5 - 0.5 * torch.cos(2.0 * math.pi * offsets / WINDOW_SAMPLES)
    spectrum = torch.stft(
        torch.from_numpy(gain * samples),
        n_fft=WINDOW_SAMPLES,
        hop_length=HOP_SAMPLES,
        window=hann.sqrt() / 2.0,
        center=False,
        return_complex=True,
    )
    decibels = (
        20.0 * torch.log10((spectrum.abs().T @ _basis()).clamp(min=AMPLITUDE_FLOOR)) - REFERENCE_DECIBELS
    )
    return ((decibels + RANGE_DECIBELS) / RANGE_DECIBELS).clamp(0.0, 1.0).to(torch.float32).numpy()


@cache
def _basis() -> torch.Tensor:
    return torchaudio.functional.melscale_fbanks(
        n_freqs=WINDOW_SAMPLES // 2 + 1,
        f_min=LOWEST_HZ,
        f_max=HIGHEST_HZ,
        n_mels=MEL_BANDS,
        sample_rate=SAMPLE_RATE_HZ,
        norm="slaney",
        mel_scale="slaney",
    ).to(torch.float64)
