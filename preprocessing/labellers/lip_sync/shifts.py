"""What scorers of landmarks and sound share: which clips they score, and the score of a curve of shifts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.schema import SAMPLES_PER_FRAME
from storage.settings import Settings


class ShiftSettings(Settings):
    """How far is searched, and what counts as too short, silent or motionless."""

    maximum_shift_frames: int = Field(
        default=15, ge=1, le=31, description="Maximum shift between lips and audio, in either direction"
    )
    silence_dbfs: float = Field(
        default=-55.0,
        ge=-120.0,
        le=0.0,
        description="Minimum level of the loudest frame; below it, a clip is silent",
    )
    still_opening: float = Field(
        default=0.004,
        ge=0.0,
        description="Minimum standard deviation of the mouth opening; below it, the mouth is still",
    )
    minimum_frames: int = Field(
        default=32,
        ge=2,
        le=64,
        description="Minimum clip length; shorter ones overlap too little at the maximum shift",
    )


def can_be_scored(
    mouth_opening: NDArray[np.floating[Any]], sound: NDArray[np.float32], settings: ShiftSettings
) -> bool:
    """Whether mouth opening [T] and sound [T * 640] are long, loud and lively enough."""
    return (
        len(mouth_opening) >= settings.minimum_frames
        and bool(frame_level_dbfs(sound).max() >= settings.silence_dbfs)
        and bool(np.std(mouth_opening) >= settings.still_opening)
    )


def frame_level_dbfs(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """RMS level of each video frame's sound: [T * 640] -> [T] dBFS, floor -120."""
    power = np.mean(sound.astype(np.float64).reshape(-1, SAMPLES_PER_FRAME) ** 2, axis=1)
    return 10.0 * np.log10(np.maximum(power, 1e-12))


def score_of_curve(curve: NDArray[np.floating[Any]]) -> dict[str, float]:
    """The score of a correlation [2 R + 1] by shift, from -R to +R frames.

    Returns:
        ``confidence`` (highest correlation minus the median over all shifts), ``offset_frames``
        (the shift of the highest; positive: the sound is late) and ``correlation`` (the highest).
    """
    best = int(np.argmax(curve))
    return {
        "confidence": float(curve[best] - np.median(curve)),
        "offset_frames": float(best - len(curve) // 2),
        "correlation": float(curve[best]),
    }
