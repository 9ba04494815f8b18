"""Backend `energy` of `lip_sync_scores`: does the mouth move when the sound has energy?

Mouth opening and speech envelope are correlated over shifts of up to 15 frames either way, the range of the
SyncNet protocols. One clip of two seconds says little; the mean of a video's curves gives its offset
(`correlation_by_shift`).

scipy is imported when a clip is scored.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from preprocessing.labellers.backend import Backend, ClipLabeller
from preprocessing.labellers.lip_sync.mouth_opening import measure_mouth_opening
from preprocessing.labellers.lip_sync.shifts import ShiftSettings, can_be_scored, score_of_curve
from preprocessing.schema import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, Clip

NAME: Final = "mouth_energy"
VERSION: Final = "1"

_TELEPHONE_BAND_HZ: Final = (300.0, 3400.0)


class LipSyncSettings(ShiftSettings):
    """What is compared, and what counts as silent or motionless."""

    slow_frames: float = Field(
        default=3.0,
        ge=0.1,
        description="Gaussian sigma of the high-pass filter of mouth opening and loudness",
    )
    smooth_frames: float = Field(
        default=0.5, ge=0.0, description="Gaussian sigma of the smoothing of landmark jitter"
    )


def score_lip_sync(
    mouth_opening: NDArray[np.float32], sound: NDArray[np.float32], settings: LipSyncSettings | None = None
) -> dict[str, float]:
    """Score one clip.

    Args:
        mouth_opening: [T] of `mouth_opening.measure_mouth_opening`.
        sound: [T * 640] mono in [-1, 1] at 16 kHz.
        settings: the defaults if None.

    Returns:
        As `score_of_curve`; {} where the clip is too short, silent or motionless.

    Raises:
        ValueError: the sound's length does not fit the frames.
    """
    settings = settings or LipSyncSettings()
    curve = correlation_by_shift(mouth_opening, sound, settings)
    return {} if curve is None else score_of_curve(curve)


def correlation_by_shift(
    mouth_opening: NDArray[np.float32], sound: NDArray[np.float32], settings: LipSyncSettings
) -> NDArray[np.float64] | None:
    """Correlation of mouth and sound for every shift.

    Args:
        mouth_opening: [T].
        sound: [T * 640].
        settings: shifts and smoothing.

    Returns:
        [2 * maximum_shift_frames + 1] correlation of the mouth at frame t with the sound at
        t + shift, shift from -maximum to +maximum; None where the clip cannot be scored.

    Raises:
        ValueError: the sound's length does not fit the frames.
    """
    frames = len(mouth_opening)
    if sound.shape != (frames * SAMPLES_PER_FRAME,):
        raise ValueError(
            f"{frames} frames need {frames * SAMPLES_PER_FRAME} samples, got {list(sound.shape)}"
        )
    if not can_be_scored(mouth_opening, sound, settings):
        return None
    mouth = _band(mouth_opening.astype(np.float64), settings)
    voice = _band(speech_loudness(sound), settings)
    reach = settings.maximum_shift_frames
    return np.array([_correlation(mouth, voice, shift) for shift in range(-reach, reach + 1)])


class EnergyScores(ClipLabeller[Clip, Clip, dict[str, float]]):
    """Scores clips by their landmarks and sound."""

    def __init__(self, settings: LipSyncSettings) -> None:
        self._settings = settings

    @override
    def prepare(self, item: Clip) -> Clip:
        """The clip itself: no picture is decoded."""
        return item

    @override
    def label(self, prepared: Clip) -> dict[str, float]:
        """Score a clip, as `score_lip_sync`."""
        return score_lip_sync(measure_mouth_opening(prepared.landmarks_px), prepared.sound, self._settings)


BACKEND: Final = Backend(name=NAME, version=VERSION, factory=EnergyScores, settings=("energy",))


def speech_loudness(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """Loudness of each video frame's speech: [T * 640] -> [T], power in the telephone band to the 0.3.

    The exponent is Stevens' for loudness. Of the envelopes tried on real videos (bands, decibels over a
    floor, other exponents) it recovers the known offsets most often.
    """
    from scipy.signal import sosfiltfilt

    speech = sosfiltfilt(_telephone_filter(), sound.astype(np.float64))
    return np.mean(speech.reshape(-1, SAMPLES_PER_FRAME) ** 2, axis=1) ** 0.3


@cache
def _telephone_filter() -> NDArray[np.float64]:
    """Second-order sections [4, 6] of a Butterworth band-pass of order 4 for the telephone band."""
    from scipy.signal import butter

    sections = butter(4, _TELEPHONE_BAND_HZ, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    return np.asarray(sections, np.float64)


def _band(series: NDArray[np.float64], settings: LipSyncSettings) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(series, settings.smooth_frames)
    return smooth - gaussian_filter1d(series, settings.slow_frames)


def _correlation(mouth: NDArray[np.float64], voice: NDArray[np.float64], shift: int) -> float:
    """Pearson correlation of mouth[t] with voice[t + shift] where both exist; 0 if either is constant."""
    frames = len(mouth)
    first = mouth[max(0, -shift) : frames - max(0, shift)]
    second = voice[max(0, shift) : frames - max(0, -shift)]
    first, second = first - first.mean(), second - second.mean()
    power = float((first @ first) * (second @ second))
    return float(first @ second) / power**0.5 if power > 0.0 else 0.0
