"""The label `speech`: the probability that somebody speaks, for every frame of a clip.

It is made by the step `clips`, which refuses clips with too little speech: `silent`, `music`, `noise`, or
`no_speech` where little else is heard either.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.labellers import speech_silero
from preprocessing.labellers.backend import Backend, BackendSettings
from preprocessing.schema import FRAMES_PER_SECOND, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

SPECTRUM_SAMPLES: Final = 1024  # 64 ms: resolves the partials of music, 15.6 Hz a bin
FIRST_BIN: Final = 8  # 125 Hz
BAND_BINS: Final = 24  # 375 Hz: within it, the spectrum of noise is flat whatever the noise's colour
BANDS: Final = 20  # up to 7.6 kHz


class SpeechDetector(Protocol):
    """Finds speech in a sound file."""

    def detect(self, path: Path) -> NDArray[np.float32] | None:
        """[F] probability of speech in each frame of 640 samples; None: not detected."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


class NoDetector:
    """Detects nothing: clips have no label `speech`, and the level alone decides."""

    def detect(self, path: Path) -> None:
        """None."""
        del path

    def close(self) -> None:
        """Nothing to free."""


BACKENDS: Final[Mapping[str, Backend[SpeechDetector]]] = {
    "silero": speech_silero.BACKEND,
    "none": Backend(name="none", version="1", factory=NoDetector),
}


class SpeechSettings(BackendSettings):
    """How speech is detected, and how much a clip needs."""

    backends: ClassVar = BACKENDS

    backend: str = Field(
        default="silero",
        description="Speech detector; none: loudness alone decides",
        json_schema_extra={"enum": [*BACKENDS]},
    )
    minimum_probability: float = Field(
        default=0.5, ge=0.0, le=1.0, description="Minimum probability of a frame that counts as speech"
    )
    minimum_share: float = Field(
        default=0.1, ge=0.0, le=1.0, description="Minimum share of a clip's frames with speech"
    )
    music_flatness: float = Field(
        default=0.46,
        ge=0.0,
        le=1.0,
        description="Sound that is not speech is called music below this spectral flatness, noise above it",
    )


def speech_scores(
    sound: NDArray[np.float32], probabilities: NDArray[np.float32] | None, settings: SpeechSettings
) -> dict[str, float]:
    """A clip's scores of speech and of what else is heard.

    Args:
        sound: [T * 640] mono at 16 kHz.
        probabilities: [T] of `SpeechDetector`; None where nothing was detected.
        settings: what counts as speech.

    Returns:
        ``speech_share`` of the frames, ``speech_seconds``, ``other_sound_dbfs`` (level of the loudest second
        of the frames without speech) and ``sound_flatness`` of these frames; {} without probabilities.
    """
    if probabilities is None:
        return {}
    is_speech = probabilities >= settings.minimum_probability
    other = sound.reshape(-1, SAMPLES_PER_FRAME)[~is_speech].reshape(-1)
    return {
        "speech_share": float(is_speech.mean()),
        "speech_seconds": int(is_speech.sum()) / FRAMES_PER_SECOND,
        "other_sound_dbfs": loudest_second_dbfs(other),
        "sound_flatness": spectral_flatness(other),
    }


def reason_of_missing_speech(scores: Mapping[str, Any], settings: SpeechSettings, silence_dbfs: float) -> str:
    """What a clip with too little speech is refused for: `no_speech`, `music` or `noise`."""
    if scores["other_sound_dbfs"] < silence_dbfs:
        return "no_speech"
    return "music" if scores["sound_flatness"] < settings.music_flatness else "noise"


def loudest_second_dbfs(sound: NDArray[np.float32]) -> float:
    """RMS level of the loudest second of mono 16 kHz sound [N], of all of it where it is shorter; >= -120."""
    window = min(SAMPLE_RATE_HZ, len(sound))
    if window == 0:
        return -120.0
    energy = np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** 2)])
    loudest = float((energy[window:] - energy[:-window]).max()) / window
    return 10.0 * math.log10(max(loudest, 1e-12))


def spectral_flatness(sound: NDArray[np.float32]) -> float:
    """Geometric over arithmetic mean of the power in bands of 375 Hz, weighted by loudness.

    About 0.56 for noise of any colour, whose bins are exponentially distributed: exp(-Euler's constant).
    Music is lower, since its partials stand out of their bands. Loudness is power to the 0.3 (Stevens). 1 for
    less than a spectrum's 1024 samples.
    """
    count = (len(sound) - SPECTRUM_SAMPLES) // (SPECTRUM_SAMPLES // 2) + 1
    if count < 1:
        return 1.0
    view = np.lib.stride_tricks.sliding_window_view(sound, SPECTRUM_SAMPLES)[:: SPECTRUM_SAMPLES // 2]
    spectra = np.abs(np.fft.rfft(view * np.hanning(SPECTRUM_SAMPLES).astype(np.float32))) ** 2 + 1e-12
    bands = spectra[:, FIRST_BIN : FIRST_BIN + BANDS * BAND_BINS].reshape(count, BANDS, BAND_BINS)
    mean = bands.mean(axis=-1)
    loudness = mean**0.3
    flatness = np.exp(np.log(bands).mean(axis=-1)) / mean
    return float((flatness * loudness).sum() / loudness.sum())
