"""The thresholds of the step `clips` in one table: reason, score, setting, direction, unit.

The selection, the list of refusals and the threshold explorer read it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Bound:
    """A threshold of clips."""

    reason: str  # of the refusal
    score: str  # column of `clips.parquet`
    setting: str  # dotted, of `ClipSettings`
    title: str
    unit: str  # shown; angles are shown in degrees
    is_minimum: bool = True
    scale: float = 1.0  # from the stored unit to the shown one

    def fails(self, score: float, threshold: float) -> bool:
        """Whether a score is refused."""
        return score < threshold if self.is_minimum else score > threshold

    def threshold(self, settings: Mapping[str, Any]) -> float:
        """The threshold, from settings as JSON values."""
        value: Any = settings
        for name in self.setting.split("."):
            value = value[name]
        return float(value)


SPEAKER_REASONS: Final = ("not_the_speaker", "speaker_unsure")
SPEAKER_BOUNDS: Final = (
    Bound(
        "speaker_unsure",
        "speaking_score",
        "speakers.minimum_score",
        "Mouth with the sound",
        "correlation",
    ),
    Bound(
        "not_the_speaker",
        "speaking_margin",
        "speakers.minimum_margin",
        "Ahead of other faces",
        "difference of correlations",
    ),
)
"""Of clips with other faces in the picture. Where a clip leaves it open, its whole shot may decide."""
MISSING_SPEECH: Final = ("no_speech", "music", "noise")  # reasons of one bound, by what else is heard
SPEECH: Final = Bound("no_speech", "speech_share", "speech.minimum_share", "Speech", "of the frames")
BOUNDS: Final = (
    Bound("face_too_small", "face_size_px", "minimum_face_size_px", "Face size", "px in the source"),
    Bound("blurred", "sharpness", "minimum_sharpness", "Sharpness", "variance of the Laplacian"),
    Bound("too_dark", "brightness", "minimum_brightness", "Brightness, least", "mean grey level"),
    Bound("sound_missing", "recorded_share", "minimum_recorded_share", "Recorded sound", "of the clip"),
    Bound("mouth_still", "mouth_motion", "minimum_mouth_motion", "Mouth motion", "face sizes"),
    Bound("silent", "speech_level_dbfs", "minimum_speech_level_dbfs", "Sound level", "dBFS, loudest second"),
    SPEECH,
    Bound(
        "pictures_repeat",
        "repeated_share",
        "maximum_repeated_share",
        "Repeated pictures",
        "of the frames",
        is_minimum=False,
    ),
    Bound(
        "picture_stands",
        "standing_frames",
        "maximum_standing_frames",
        "Standing picture",
        "frames",
        is_minimum=False,
    ),
    Bound(
        "too_bright",
        "brightness",
        "maximum_brightness",
        "Brightness, most",
        "mean grey level",
        is_minimum=False,
    ),
    Bound("tracker_slipped", "largest_step", "maximum_step", "Largest step", "face sizes", is_minimum=False),
    Bound(
        "beyond_the_picture",
        "outside_share",
        "maximum_outside_share",
        "Beyond the picture",
        "of the crop",
        is_minimum=False,
    ),
    Bound(
        "turned_away",
        "head_angle_rad",
        "maximum_head_angle_rad",
        "Head angle",
        "degrees",
        is_minimum=False,
        scale=180.0 / math.pi,
    ),
)
"""In the order in which the first failed one is the reason."""
BOUND_OF_REASON: Final[Mapping[str, Bound]] = {bound.reason: bound for bound in BOUNDS} | dict.fromkeys(
    MISSING_SPEECH, SPEECH
)
