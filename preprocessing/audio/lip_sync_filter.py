"""Which clips' sound goes with their lips, and how far a video's sound is to be moved.

A sound that comes early or late does so for a whole file, while a single clip's offset is uncertain by a
frame or more: the offset is the median of the video's sure clips, and believed where most of them lie near
it. Whether somebody else speaks is a question to each clip alone: its confidence.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from preprocessing.audio.sound_shift import kept_frames
from preprocessing.table_schema import column, table_schema
from storage.settings import Settings

VERSION: Final = "1"
MAXIMUM_OFFSET_FRAMES: Final = 31  # as far as any scorer looks
NEAR_FRAMES: Final = 2  # a clip's own offset is uncertain by a frame, its median by another
VERDICTS_TABLE: Final = "lip_sync_filter.parquet"
VERDICTS_SCHEMA: Final = table_schema(
    column("key", pa.string(), "clip's key"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("confidence", pa.float64(), "the scorer's; null: not scored"),
    column("late_frames", pa.int32(), "how late the video's sound comes: median of its sure clips"),
    column("moved_frames", pa.int32(), "by how much the clip's sound was moved forward"),
    column("refusal", pa.string(), "why the clip is left out; empty: it is a sample"),
)
Refusal = Literal[
    "",
    "lip_sync_not_scored",
    "lip_sync_unsure",
    "lip_sync_unsettled",  # the video's sure clips do not agree how late its sound comes
    "lip_sync_far_off",
    "lip_sync_too_short",
]


class LipSyncFilter(Settings):
    """What is done about sound that does not go with the lips; nothing, unless told.

    Raises:
        ValueError: a value is out of its bounds, or an offset is asked of unsure clips.
    """

    minimum_confidence: float = Field(
        default=0.0,
        ge=0.0,
        le=100.0,
        description="Minimum lip sync confidence, in the scorer's units; drops unscored clips too. 0: no "
        "filter. Meant for syncnet_v2: energy is informative for whole videos only",
    )
    correct_offset: bool = Field(
        default=False,
        description="Shift the audio by the median offset of the video's confident clips, which shortens "
        "clips",
    )
    maximum_offset_frames: int = Field(
        default=MAXIMUM_OFFSET_FRAMES,
        ge=0,
        le=MAXIMUM_OFFSET_FRAMES,
        description="Maximum audio offset of a video, in either direction; clips of others are dropped",
    )
    minimum_frames: int = Field(
        default=25,
        ge=2,
        le=64,
        description="Minimum clip length after the audio is shifted; shorter clips are dropped",
    )

    @model_validator(mode="after")
    def _check_offsets(self) -> "LipSyncFilter":
        if self.goes_by_offset and not self.active:
            raise ValueError(
                f"correct_offset {self.correct_offset} and maximum_offset_frames {self.maximum_offset_frames}"
                " use the offsets of confident clips: set minimum_confidence, which is 0, above 0"
            )
        return self

    @property
    def active(self) -> bool:
        """Whether anything is filtered or moved."""
        return self.minimum_confidence > 0.0

    @property
    def goes_by_offset(self) -> bool:
        """Whether it counts how late a video's sound comes."""
        return self.correct_offset or self.maximum_offset_frames < MAXIMUM_OFFSET_FRAMES


@dataclass(frozen=True)
class ScoredClip:
    """What is judged of a clip."""

    key: str
    video_id: str
    frames: int
    score: Mapping[str, float]  # `confidence` and `offset_frames`; {} where it was not scored


@dataclass(frozen=True)
class LipSyncVerdict:
    """What becomes of a clip."""

    refusal: Refusal = ""
    late_frames: int | None = None  # how late its video's sound comes; negative: early; None: no clip is sure
    moved_frames: int = 0  # late_frames where its sound is to be moved


def judge_lip_sync(clips: Sequence[ScoredClip], settings: LipSyncFilter) -> dict[str, LipSyncVerdict]:
    """The verdict on each clip of whole videos, by key; all pass where the filter is not active."""
    if not settings.active:
        return {clip.key: LipSyncVerdict() for clip in clips}
    offsets: dict[str, list[float]] = defaultdict(list)
    for clip in clips:
        if clip.score.get("confidence", -np.inf) >= settings.minimum_confidence:
            offsets[clip.video_id].append(clip.score["offset_frames"])
    late = {video: _late_sound(found) for video, found in offsets.items()}
    return {clip.key: _verdict(clip, late.get(clip.video_id), settings) for clip in clips}


def write_verdicts(clips: Sequence[ScoredClip], verdicts: Mapping[str, LipSyncVerdict], folder: Path) -> None:
    """A row a clip, those left out too."""
    rows = [
        {
            "key": clip.key,
            "video_id": clip.video_id,
            "confidence": clip.score.get("confidence"),
            "late_frames": verdicts[clip.key].late_frames,
            "moved_frames": verdicts[clip.key].moved_frames,
            "refusal": verdicts[clip.key].refusal,
        }
        for clip in clips
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=VERDICTS_SCHEMA), folder / VERDICTS_TABLE)


@dataclass(frozen=True)
class _LateSound:
    frames: int
    settled: bool  # whether most sure clips lie near it


def _late_sound(offsets_frames: Sequence[float]) -> _LateSound:
    """Of the offsets of a video's sure clips their median; between two frames the one that moves less."""
    median = float(np.median(offsets_frames))
    near = np.abs(np.asarray(offsets_frames) - median) <= NEAR_FRAMES
    return _LateSound(int(np.trunc(median)), bool(near.mean() > 0.5))


def _verdict(clip: ScoredClip, late: _LateSound | None, settings: LipSyncFilter) -> LipSyncVerdict:
    if late is None or clip.score.get("confidence", -np.inf) < settings.minimum_confidence:
        refusal = "lip_sync_unsure" if "confidence" in clip.score else "lip_sync_not_scored"
        return LipSyncVerdict(refusal, None if late is None else late.frames)
    if settings.goes_by_offset and not late.settled:
        return LipSyncVerdict("lip_sync_unsettled", late.frames)
    if abs(late.frames) > settings.maximum_offset_frames:
        return LipSyncVerdict("lip_sync_far_off", late.frames)
    if not settings.correct_offset:
        return LipSyncVerdict("", late.frames)
    if len(kept_frames(clip.frames, late.frames)) < settings.minimum_frames:
        return LipSyncVerdict("lip_sync_too_short", late.frames)
    return LipSyncVerdict("", late.frames, late.frames)
