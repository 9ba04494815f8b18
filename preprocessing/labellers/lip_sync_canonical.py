"""Backend `canonical` of `lip_sync_scores`: the shift at which mouth and sound go together best, the default.

Features and components are those of `labellers.mouth_sound`; `confidence` is the highest correlation
less the median over all shifts.
"""

from typing import Final

import numpy as np
from pydantic import Field
from typing_extensions import override

from preprocessing.labellers import mouth_sound
from preprocessing.labellers.backend import Backend, ClipLabeller
from preprocessing.labellers.lip_sync_energy import frame_level_dbfs
from preprocessing.labellers.mouth_opening import measure_mouth_opening
from preprocessing.labellers.mouth_sound import (
    correlation_by_shift,
    load_projection,
    mouth_features,
    sound_features,
)
from preprocessing.schema import Clip
from storage.settings import Settings

NAME: Final = "canonical"
VERSION: Final = f"1 {mouth_sound.NAME} {mouth_sound.VERSION}"


class CanonicalSettings(Settings):
    """What is compared, and what counts as silent or motionless."""

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


class CanonicalScores(ClipLabeller[Clip, Clip, dict[str, float]]):
    """Scores clips by their landmarks and sound."""

    def __init__(self, settings: CanonicalSettings) -> None:
        self._settings = settings
        self._projection = load_projection()

    @override
    def prepare(self, item: Clip) -> Clip:
        """The clip itself: no picture is decoded."""
        return item

    @override
    def label(self, prepared: Clip) -> dict[str, float]:
        """``confidence``, ``offset_frames`` (positive: the sound is late) and ``correlation``.

        {} where the clip is too short, silent or motionless.
        """
        settings, sound = self._settings, prepared.sound
        opening = measure_mouth_opening(prepared.landmarks_px)
        is_silent = frame_level_dbfs(sound).max() < settings.silence_dbfs
        if len(opening) < settings.minimum_frames or is_silent or np.std(opening) < settings.still_opening:
            return {}
        curve = correlation_by_shift(
            mouth_features(prepared.landmarks_px),
            sound_features(sound),
            min(settings.maximum_shift_frames, len(opening) - 1),
            self._projection,
        )
        best = int(np.argmax(curve))
        return {
            "confidence": float(curve[best] - np.median(curve)),
            "offset_frames": float(best - len(curve) // 2),
            "correlation": float(curve[best]),
        }


BACKEND: Final = Backend(name=NAME, version=VERSION, factory=CanonicalScores, settings=("canonical",))
