"""Mel features as the released networks were trained on them.

The STFT is that of the `lws` package in speech mode, in torch: a Hann window with half-sample offset (its
square root, halved), zeros in front so that row j ends at sample 160 (j + 1) of the sound, no centring. A
centred Hann STFT differs by 0.065 on the 0 to 1 scale.
"""

import math
from functools import cache
from typing import Final

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray

from preprocessing.schema import (
    FRAMES_BEFORE,
    MEL_BANDS,
    MEL_ROWS_BEFORE,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    VideoSound,
    mel_shape,
)

WINDOW_SAMPLES: Final = 1280
HOP_SAMPLES: Final = 160
ROWS_BEFORE: Final = WINDOW_SAMPLES // HOP_SAMPLES - 1  # row j starts this many hops before sample 160 j
LOWEST_HZ: Final = 125.0
HIGHEST_HZ: Final = 7600.0
TARGET_RMS: Final = 0.1
RMS_FLOOR: Final = 1e-4
AMPLITUDE_FLOOR: Final = 1e-5
REFERENCE_DECIBELS: Final = 20.0
RANGE_DECIBELS: Final = 100.0


def mel_features(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mel features of a clip's sound.

    Args:
        sound: [N] mono at 16 kHz in [-1, 1], of any loudness (it is normalised to RMS 0.1).

    Returns:
        [ceil(N / 160) + 7, 80] in [0, 1]: 0 is -100 dB, 1 is 0 dB above the reference of 20 dB. Row j covers
        the samples 160 (j - 7) to 160 (j + 1).
    """
    samples = torch.from_numpy(np.asarray(sound, np.float64))
    loudness = math.sqrt(float((samples**2).mean()))
    overlap = WINDOW_SAMPLES - HOP_SAMPLES
    to_whole_hops = -len(samples) % HOP_SAMPLES
    padded = torch.nn.functional.pad(samples * _gain(loudness), (overlap, to_whole_hops + overlap))
    return _mel(padded)


def mel_rows(sound: NDArray[np.float32], first: int, end: int, loudness: float) -> NDArray[np.float32]:
    """Rows `first` to `end` - 1 of a long sound's features, without computing the others.

    Args:
        sound: [N] as for `mel_features`; silent beyond its ends.
        first: may be negative.
        end: > `first`; may be beyond the sound.
        loudness: of the whole sound, from `loudness_of`.

    Returns:
        [end - first, 80] in [0, 1].
    """
    begin, stop = HOP_SAMPLES * (first - ROWS_BEFORE), HOP_SAMPLES * end
    inside = sound[max(0, begin) : max(0, min(len(sound), stop))].astype(np.float64)
    samples = np.zeros(stop - begin)
    samples[max(0, -begin) : max(0, -begin) + len(inside)] = inside
    return _mel(torch.from_numpy(_gain(loudness) * samples))


def clip_mel(sound: NDArray[np.float32], video_sound: VideoSound) -> NDArray[np.float32]:
    """Rows of the whole video's mel features that the windows of a clip's frames reach.

    Args:
        sound: [T * 640] of the clip.
        video_sound: its surroundings and the loudness of the video, by which it is normalised.

    Returns:
        [4 T + 16, 80] in [0, 1], from 8 rows before the row that starts with the clip.
    """
    rows = mel_shape(len(sound) // SAMPLES_PER_FRAME)[0]
    first = FRAMES_BEFORE * SAMPLES_PER_FRAME // HOP_SAMPLES - MEL_ROWS_BEFORE
    return mel_rows(video_sound.around(sound), first, first + rows, video_sound.loudness)


def loudness_of(sound: NDArray[np.float32]) -> float:
    """Root mean square of a sound [N], computed a million samples at a time; 0 if it is empty."""
    total = sum(
        float((sound[start : start + 2**20].astype(np.float64) ** 2).sum())
        for start in range(0, len(sound), 2**20)
    )
    return math.sqrt(total / max(1, len(sound)))


def _gain(loudness: float) -> float:
    return TARGET_RMS / max(RMS_FLOOR, loudness)


def _mel(samples: torch.Tensor) -> NDArray[np.float32]:
    """[1280 + 160 n] -> [n + 1, 80]: a row for each whole window."""
    offsets = torch.arange(WINDOW_SAMPLES, dtype=torch.float64) + 0.5
    hann = 0.5 - 0.5 * torch.cos(2.0 * math.pi * offsets / WINDOW_SAMPLES)
    spectrum = torch.stft(
        samples,
        n_fft=WINDOW_SAMPLES,
        hop_length=HOP_SAMPLES,
        window=hann.sqrt() / 2.0,
        center=False,
        return_complex=True,
    )
    amplitude = spectrum.abs().T @ _mel_basis()
    decibels = 20.0 * torch.log10(amplitude.clamp(min=AMPLITUDE_FLOOR)) - REFERENCE_DECIBELS
    scaled = (decibels + RANGE_DECIBELS) / RANGE_DECIBELS
    return scaled.clamp(0.0, 1.0).to(torch.float32).numpy()


@cache
def _mel_basis() -> torch.Tensor:
    """[641, 80] Slaney mels with Slaney's area norm."""
    return torchaudio.functional.melscale_fbanks(
        n_freqs=WINDOW_SAMPLES // 2 + 1,
        f_min=LOWEST_HZ,
        f_max=HIGHEST_HZ,
        n_mels=MEL_BANDS,
        sample_rate=SAMPLE_RATE_HZ,
        norm="slaney",
        mel_scale="slaney",
    ).to(torch.float64)
