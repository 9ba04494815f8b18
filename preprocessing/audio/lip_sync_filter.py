"""The lip sync filter of the step `shards`: which clips to drop, and by how much to shift their sound.

Late or early sound is a property of a whole file, while the offset of one clip is uncertain by a frame or
more. So the offset of a video is the median over its confident clips, and used if most of them are close to
it. Whether another person speaks is a question of each clip: its confidence.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from preprocessing.schema import FRAMES_AFTER, FRAMES_BEFORE, SAMPLES_PER_FRAME, Clip, ClipLabels, EyeAnchor
from preprocessing.table_schema import column, table_schema
from storage.settings import Settings

VERSION: Final = "1"
MAXIMUM_OFFSET_FRAMES: Final = 31  # the largest shift that any scorer tries
NEAR_FRAMES: Final = 2  # a clip's offset is uncertain by one frame, the median by another
SHIFT_SCORE: Final = "sound_shift_frames"
"""In a sample's lip sync scores: frames by which its sound was late before it was shifted; negative:
early."""
VERDICTS_TABLE: Final = "lip_sync_filter.parquet"
VERDICTS_SCHEMA: Final = table_schema(
    column("key", pa.string(), "clip's key"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("confidence", pa.float64(), "of the scorer; null: not scored"),
    column("offset_frames", pa.int32(), "how late the video's sound is: median of its confident clips"),
    column("shift_frames", pa.int32(), "by how much the clip's sound was shifted to an earlier time"),
    column("refusal", pa.string(), "why the clip is dropped; empty: it is a sample"),
)
Refusal = Literal[
    "",
    "lip_sync_not_scored",
    "lip_sync_low_confidence",
    "lip_sync_inconsistent_offset",  # the video's confident clips disagree on its offset
    "lip_sync_offset_too_large",
    "lip_sync_too_short",
]


class LipSyncFilter(Settings):
    """What to do about sound that does not match the lips; by default nothing."""

    minimum_confidence: float = Field(
        default=0.0,
        ge=0.0,
        le=100.0,
        description="Minimum lip sync confidence, in the scorer's units; drops unscored clips too. 0: no "
        "filter. canonical: about 0.2; energy is informative for whole videos only",
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
        if self.uses_offset and not self.active:
            raise ValueError(
                f"correct_offset {self.correct_offset} and maximum_offset_frames {self.maximum_offset_frames}"
                " use the offsets of confident clips: set minimum_confidence, which is 0, above 0"
            )
        return self

    @property
    def active(self) -> bool:
        """Whether clips are dropped or shifted at all."""
        return self.minimum_confidence > 0.0

    @property
    def uses_offset(self) -> bool:
        """Whether the offset of a video matters."""
        return self.correct_offset or self.maximum_offset_frames < MAXIMUM_OFFSET_FRAMES


@dataclass(frozen=True)
class ScoredClip:
    """A clip and its lip sync scores."""

    key: str
    video_id: str
    frames: int
    score: Mapping[str, float]  # `confidence` and `offset_frames`; {} if it was not scored


@dataclass(frozen=True)
class LipSyncVerdict:
    """What the filter does with a clip."""

    refusal: Refusal = ""
    offset_frames: int | None = None  # of its video; positive: late; None: no confident clip
    shift_frames: int = 0  # `offset_frames` if its sound is to be shifted


def judge_lip_sync(clips: Sequence[ScoredClip], settings: LipSyncFilter) -> dict[str, LipSyncVerdict]:
    """The verdict on each clip, by key; all clips of a video must be passed at once."""
    if not settings.active:
        return {clip.key: LipSyncVerdict() for clip in clips}
    offsets: dict[str, list[float]] = defaultdict(list)
    for clip in clips:
        if clip.score.get("confidence", -np.inf) >= settings.minimum_confidence:
            offsets[clip.video_id].append(clip.score["offset_frames"])
    by_video = {video: _video_offset(values) for video, values in offsets.items()}
    return {clip.key: _verdict(clip, by_video.get(clip.video_id), settings) for clip in clips}


def write_verdicts(clips: Sequence[ScoredClip], verdicts: Mapping[str, LipSyncVerdict], folder: Path) -> None:
    """Write a row for every clip, dropped ones too."""
    rows = [
        {
            "key": clip.key,
            "video_id": clip.video_id,
            "confidence": clip.score.get("confidence"),
            "offset_frames": verdicts[clip.key].offset_frames,
            "shift_frames": verdicts[clip.key].shift_frames,
            "refusal": verdicts[clip.key].refusal,
        }
        for clip in clips
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=VERDICTS_SCHEMA), folder / VERDICTS_TABLE)


@dataclass(frozen=True)
class _VideoOffset:
    frames: int
    consistent: bool  # most confident clips are near it


def _video_offset(offsets_frames: Sequence[float]) -> _VideoOffset:
    """Median of a video's confident clips, rounded towards zero."""
    median = float(np.median(offsets_frames))
    near = np.abs(np.asarray(offsets_frames) - median) <= NEAR_FRAMES
    return _VideoOffset(int(np.trunc(median)), bool(near.mean() > 0.5))


def _verdict(clip: ScoredClip, offset: _VideoOffset | None, settings: LipSyncFilter) -> LipSyncVerdict:
    if offset is None or clip.score.get("confidence", -np.inf) < settings.minimum_confidence:
        refusal = "lip_sync_low_confidence" if "confidence" in clip.score else "lip_sync_not_scored"
        return LipSyncVerdict(refusal, None if offset is None else offset.frames)
    if settings.uses_offset and not offset.consistent:
        return LipSyncVerdict("lip_sync_inconsistent_offset", offset.frames)
    if abs(offset.frames) > settings.maximum_offset_frames:
        return LipSyncVerdict("lip_sync_offset_too_large", offset.frames)
    if not settings.correct_offset:
        return LipSyncVerdict("", offset.frames)
    if len(frames_with_sound(clip.frames, offset.frames)) < settings.minimum_frames:
        return LipSyncVerdict("lip_sync_too_short", offset.frames)
    return LipSyncVerdict("", offset.frames, offset.frames)


def frames_with_sound(frames: int, shift_frames: int) -> range:
    """The frames of a clip that still have sound after a shift.

    Sound that is `shift_frames` late belongs to the picture that many frames earlier: picture t gets the
    sound of t + `shift_frames`.
    """
    return range(max(0, -shift_frames), frames - max(0, shift_frames))


def shift_clip(clip: Clip, shift_frames: int) -> Clip:
    """The clip with its sound shifted to an earlier time, |shift_frames| shorter.

    Raises:
        ValueError: no frame would be left.
    """
    kept = frames_with_sound(clip.frame_count, shift_frames)
    if not kept:
        raise ValueError(f"{clip.key}: cannot shift the sound of {clip.frame_count} frames by {shift_frames}")
    ends_frames = np.cumsum([kept.start + shift_frames, FRAMES_BEFORE, len(kept), FRAMES_AFTER])
    samples = clip.video_sound.around(clip.sound)
    _, before, sound, after, _ = np.split(samples, ends_frames * SAMPLES_PER_FRAME)
    frames = slice(kept.start, kept.stop)
    frames_of_sound = slice(kept.start + shift_frames, kept.stop + shift_frames)
    source = replace(
        clip.source,
        first_frame=clip.source.first_frame + kept.start,
        crop_transforms=clip.source.crop_transforms[frames],
    )
    return replace(
        clip,
        source=source,
        frames_jpeg=clip.frames_jpeg[frames],
        landmarks_px=clip.landmarks_px[frames],
        sound=sound,
        video_sound=replace(clip.video_sound, before=before, after=after),
        speech=None if clip.speech is None else clip.speech[frames_of_sound],
    )


def shift_labels(labels: ClipLabels, shift_frames: int) -> ClipLabels:
    """The labels of the frames that `shift_clip` keeps.

    The score `offset_frames` becomes the remaining offset; other lip sync scores are unchanged.
    """
    kept = frames_with_sound(len(labels.pose), shift_frames)
    frames = slice(kept.start, kept.stop)
    scores = labels.lip_sync | {SHIFT_SCORE: float(shift_frames)}
    if "offset_frames" in scores:
        scores["offset_frames"] -= shift_frames
    return replace(
        labels,
        pose=labels.pose[frames],
        gaze=labels.gaze[frames],
        blink=labels.blink[frames],
        lip_sync=scores,
        coefficients=None if labels.coefficients is None else labels.coefficients[frames],
        blendshapes=None if labels.blendshapes is None else labels.blendshapes[frames],
    )


def shift_anchors(anchors: tuple[EyeAnchor, ...], frames: int, shift_frames: int) -> tuple[EyeAnchor, ...]:
    """The anchors on the frames that `shift_clip` keeps, renumbered."""
    kept = frames_with_sound(frames, shift_frames)
    return tuple(
        replace(anchor, base_frame=anchor.base_frame - kept.start)
        for anchor in anchors
        if anchor.base_frame in kept
    )
