"""Which clips' sound goes with their lips, and how far a video's sound is to be moved.

A sound that comes early or late does so for a whole file, while a single clip's offset is uncertain by a
frame or more: the offset is the median of the video's sure clips. Whether somebody else speaks is a question
to each clip alone: its confidence.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.moved_sound import kept_frames
from preprocessing.table_schema import column, table_schema
from storage.settings import setting

MAXIMUM_OFFSET_FRAMES: Final = 31  # as far as any scorer looks
VERDICTS_TABLE: Final = "lip_sync_filter.parquet"
VERDICTS_SCHEMA: Final = table_schema(
    column("key", pa.string(), "clip's key"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("confidence", pa.float64(), "the scorer's; null: not scored"),
    column("late_frames", pa.int32(), "how late the video's sound comes: median of its sure clips"),
    column("moved_frames", pa.int32(), "by how much the clip's sound was moved forward"),
    column("refusal", pa.string(), "why the clip is left out; empty: it is a sample"),
)
Refusal = Literal["", "lip_sync_not_scored", "lip_sync_unsure", "lip_sync_far_off", "lip_sync_too_short"]


@dataclass(frozen=True)
class LipSyncFilter:
    """What is done about sound that does not go with the lips; nothing, unless told.

    Raises:
        ValueError: a value is out of its bounds, or an offset is asked of unsure clips.
    """

    minimum_confidence: float = setting(
        0.0,
        "Clips whose lip sync is less sure, or not scored, are left out, in the scorer's own units; 0: none"
        " is. Meant for syncnet_v2: energy tells something of whole videos only",
        minimum=0.0,
        maximum=100.0,
    )
    correct_offset: bool = setting(
        False, "Move the sound by the median offset of its video's sure clips, which shortens them by as much"
    )
    maximum_offset_frames: int = setting(
        MAXIMUM_OFFSET_FRAMES,
        "Clips of a video whose sound comes earlier or later than this are left out",
        minimum=0,
        maximum=MAXIMUM_OFFSET_FRAMES,
    )
    minimum_frames: int = setting(
        25, "Clips of which fewer frames stay when their sound is moved are left out", minimum=2, maximum=64
    )

    def __post_init__(self) -> None:
        if not 0.0 <= self.minimum_confidence <= 100.0:
            raise ValueError(f"minimum_confidence is {self.minimum_confidence}, need 0 to 100")
        if not 0 <= self.maximum_offset_frames <= MAXIMUM_OFFSET_FRAMES:
            raise ValueError(
                f"maximum_offset_frames is {self.maximum_offset_frames}, need 0 to {MAXIMUM_OFFSET_FRAMES}"
            )
        if not 2 <= self.minimum_frames <= 64:
            raise ValueError(f"minimum_frames is {self.minimum_frames}, need 2 to 64")
        wants_offset = self.correct_offset or self.maximum_offset_frames < MAXIMUM_OFFSET_FRAMES
        if wants_offset and not self.active:
            raise ValueError(
                f"correct_offset {self.correct_offset} and maximum_offset_frames {self.maximum_offset_frames}"
                " go by the offsets of sure clips: set minimum_confidence, which is 0, above 0"
            )

    @property
    def active(self) -> bool:
        """Whether anything is filtered or moved."""
        return self.minimum_confidence > 0.0


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
    late = _late_frames_by_video(clips, settings)
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


def _verdict(clip: ScoredClip, late_frames: int | None, settings: LipSyncFilter) -> LipSyncVerdict:
    if "confidence" not in clip.score:
        return LipSyncVerdict("lip_sync_not_scored", late_frames)
    if clip.score["confidence"] < settings.minimum_confidence:
        return LipSyncVerdict("lip_sync_unsure", late_frames)
    assert late_frames is not None, f"{clip.key} is sure, so its video has an offset"
    if abs(late_frames) > settings.maximum_offset_frames:
        return LipSyncVerdict("lip_sync_far_off", late_frames)
    if not settings.correct_offset:
        return LipSyncVerdict("", late_frames)
    if len(kept_frames(clip.frames, late_frames)) < settings.minimum_frames:
        return LipSyncVerdict("lip_sync_too_short", late_frames)
    return LipSyncVerdict("", late_frames, late_frames)


def _late_frames_by_video(clips: Sequence[ScoredClip], settings: LipSyncFilter) -> dict[str, int]:
    """Median offset of each video's sure clips; between two frames the one that moves less."""
    offsets: dict[str, list[float]] = defaultdict(list)
    for clip in clips:
        if clip.score.get("confidence", -np.inf) >= settings.minimum_confidence:
            offsets[clip.video_id].append(clip.score["offset_frames"])
    return {video: int(np.trunc(np.median(found))) for video, found in offsets.items()}
