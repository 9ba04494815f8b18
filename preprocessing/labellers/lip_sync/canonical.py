"""Backend `canonical` of `lip_sync_scores`: the shift at which mouth and sound go together best, the default.

Features and components are those of `labellers.mouth_sound`; `confidence` is the highest correlation
less the median over all shifts.
"""

from typing import Final

from typing_extensions import override

from preprocessing.labellers.backend import Backend, ClipLabeller
from preprocessing.labellers.lip_sync import mouth_sound
from preprocessing.labellers.lip_sync.mouth_opening import measure_mouth_opening
from preprocessing.labellers.lip_sync.mouth_sound import (
    correlation_by_shift,
    load_projection,
    mouth_features,
    sound_features,
)
from preprocessing.labellers.lip_sync.shifts import ShiftSettings, can_be_scored, score_of_curve
from preprocessing.schema import Clip

NAME: Final = "canonical"
VERSION: Final = f"1 {mouth_sound.NAME} {mouth_sound.VERSION}"


class CanonicalSettings(ShiftSettings):
    """What is compared, and what counts as silent or motionless."""


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
        """As `score_of_curve`; {} where the clip is too short, silent or motionless."""
        settings, sound = self._settings, prepared.sound
        opening = measure_mouth_opening(prepared.landmarks_px)
        if not can_be_scored(opening, sound, settings):
            return {}
        curve = correlation_by_shift(
            mouth_features(prepared.landmarks_px),
            sound_features(sound),
            min(settings.maximum_shift_frames, len(opening) - 1),
            self._projection,
        )
        return score_of_curve(curve)


BACKEND: Final = Backend(name=NAME, version=VERSION, factory=CanonicalScores, settings=("canonical",))
