"""Mel features as the released networks were trained on them.

The STFT is that of the `lws` package in speech mode, written with torch: half-sample-offset Hann
window (its square root, halved), zeros in front so that frame j ends at sample 160 (j + 1) of the
sound, no centring. A plain centred Hann STFT is off by 0.065 on the 0 to 1 scale.
"""

import math
from functools import cache
from typing import Final

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray

from preprocessing.schema import MEL_BANDS, SAMPLE_RATE_HZ

WINDOW_SAMPLES: Final = 1280
HOP_SAMPLES: Final = 160
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
        sound: [N] mono at 16 kHz in [-1, 1], any loudness (it is normalised to RMS 0.1).

    Returns:
        [ceil(N / 160) + 7, 80] in [0, 1]: 0 is -100 dB, 1 is 0 dB above the reference of 20 dB.
        Frame j covers samples 160 (j - 7) to 160 (j + 1).
    """
    samples = torch.from_numpy(np.asarray(sound, np.float64))
    loudness = max(RMS_FLOOR, math.sqrt(float((samples**2).mean())))
    amplitude = _stft_magnitude(samples * (TARGET_RMS / loudness)) @ _mel_basis()
    decibels = 20.0 * torch.log10(amplitude.clamp(min=AMPLITUDE_FLOOR)) - REFERENCE_DECIBELS
    scaled = (decibels + RANGE_DECIBELS) / RANGE_DECIBELS
    return scaled.clamp(0.0, 1.0).to(torch.float32).numpy()


def _stft_magnitude(samples: torch.Tensor) -> torch.Tensor:
    """[N] -> [ceil(N / 160) + 7, 641]."""
    overlap = WINDOW_SAMPLES - HOP_SAMPLES
    to_whole_hops = -len(samples) % HOP_SAMPLES
    padded = torch.nn.functional.pad(samples, (overlap, to_whole_hops + overlap))
    offsets = torch.arange(WINDOW_SAMPLES, dtype=torch.float64) + 0.5
    hann = 0.5 - 0.5 * torch.cos(2.0 * math.pi * offsets / WINDOW_SAMPLES)
    spectrum = torch.stft(
        padded,
        n_fft=WINDOW_SAMPLES,
        hop_length=HOP_SAMPLES,
        window=hann.sqrt() / 2.0,
        center=False,
        return_complex=True,
    )
    return spectrum.abs().T


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
