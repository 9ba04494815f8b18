"""The step `clips`: candidates that pass every threshold become clips with their sound.

No video is read, so a changed threshold costs the time to copy files. Every refusal is a row with its reason,
score and threshold.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.archive import ArchiveWriter
from preprocessing.audio import sound_landmarks
from preprocessing.audio.sound_landmarks import write_landmarks
from preprocessing.clips import motion_landmarks
from preprocessing.clips.bounds import BOUNDS, SPEECH
from preprocessing.clips.choosing import choose_faces
from preprocessing.clips.cutting import (
    SOUND_NAME,
    cut_clip,
    read_loudness,
    recorded_share,
    sound_landmarks_of,
)
from preprocessing.clips.listed import SourceOfClips, facts_of_sources, find_segment, of_segment
from preprocessing.clips.motion_landmarks import find_motion_landmarks, measure_motion
from preprocessing.clips.speakers import (
    SpeakerSettings,
    Speaking,
)
from preprocessing.clips.store import CLIPS_SCHEMA, CLIPS_TAR, write_clip_table
from preprocessing.faces.alignment import CropMode
from preprocessing.faces.candidate_tables import read_candidates, read_video_facts
from preprocessing.labellers import pose_mean_face
from preprocessing.labellers.backend import read_labellers, write_labellers
from preprocessing.labellers.failed_clips import FailedClips
from preprocessing.labellers.lip_sync import mouth_sound
from preprocessing.labels.speech import (
    SpeechDetector,
    SpeechSettings,
    reason_of_missing_speech,
)
from preprocessing.orchestration.step import Step, StepRun, VideoBatch
from preprocessing.schema import (
    SCHEMA_VERSION,
    Clip,
)
from preprocessing.shards import encode_clip
from preprocessing.sources.catalog import FAILED
from storage.fingerprint import JsonValue
from storage.publishing import BuildReport
from storage.settings import Settings

CODE_VERSION: Final = (
    f"7+schema{SCHEMA_VERSION}+{pose_mean_face.NAME}{pose_mean_face.VERSION}"
    f"+{mouth_sound.NAME}{mouth_sound.VERSION}+landmarks{sound_landmarks.VERSION}+{motion_landmarks.VERSION}"
)
TRACK_SCORES: Final = (
    "face_size_px",
    "largest_step",
    "outside_share",
    "repeated_share",
    "standing_frames",
)  # of candidates.parquet, also of those without pictures


class ClipSettings(Settings):
    """Thresholds. A clip that fails one is refused with the threshold's reason."""

    minimum_face_size_px: float = Field(
        default=64.0,
        ge=0.0,
        description="Minimum size of the face box in the source; smaller faces give blurred 224 px crops",
    )
    minimum_sharpness: float = Field(
        default=8.0, ge=0.0, description="Minimum variance of the Laplacian of the 224 px crop"
    )
    minimum_brightness: float = Field(
        default=25.0, ge=0.0, le=255.0, description="Minimum mean grey level of the crop"
    )
    maximum_brightness: float = Field(
        default=235.0, ge=0.0, le=255.0, description="Maximum mean grey level of the crop"
    )
    maximum_step: float = Field(
        default=0.25,
        ge=0.0,
        description="Maximum motion between neighbouring frames, in face sizes; more is a tracking error",
    )
    maximum_outside_share: float = Field(
        default=0.2, ge=0.0, le=1.0, description="Maximum share of a crop outside the frame"
    )
    maximum_head_angle_rad: float = Field(
        default=math.radians(60.0),
        ge=0.0,
        le=math.pi,
        description="Maximum head rotation; beyond it, one eye is hidden",
    )
    minimum_mouth_motion: float = Field(
        default=0.01,
        ge=0.0,
        description="Minimum standard deviation of the mouth opening, in face sizes; below it, nobody speaks",
    )
    minimum_speech_level_dbfs: float = Field(
        default=-55.0,
        ge=-120.0,
        le=0.0,
        description="Minimum level of the loudest second; below it, a clip is silent",
    )
    speech: SpeechSettings = SpeechSettings()
    minimum_recorded_share: float = Field(
        default=0.95,
        ge=0.0,
        le=1.0,
        description="Minimum share of a clip's sound that was recorded; holes and missing ends are zeros",
    )
    maximum_repeated_share: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Maximum share of frames that show the face of the frame before: 0.5 allows 12.5 fps",
    )
    maximum_standing_frames: int = Field(
        default=12, ge=0, description="Maximum number of consecutive frames in which a face stands still"
    )
    speakers: SpeakerSettings = SpeakerSettings()
    keep_other_faces: bool = Field(
        default=False,
        description="Keep faces other than the main one where they speak, as identities of their own",
    )


def make_clips(
    sources: Mapping[str, SourceOfClips],
    face_tracks: Path,
    crop_mode: CropMode,
    settings: ClipSettings,
    folder: Path,
) -> BuildReport:
    """Select a batch's clips.

    Args:
        sources: the batch's videos by video id.
        face_tracks: folder that `make_face_tracks` wrote.
        crop_mode: of `face_tracks`; recorded with each clip.
        settings: thresholds.
        folder: where `clips.tar`, `clips.parquet` and `recording_landmarks.parquet` are written.
    """
    rows: list[dict[str, Any]] = []
    motion: dict[str, list[tuple[int, int, NDArray[np.float32]]]] = {}  # of the accepted clips
    failed = FailedClips("Selecting")
    recorded = {facts["video_id"]: facts["recorded_sound"] for facts in read_video_facts(face_tracks)}
    candidates, speaking, errors = choose_faces(
        read_candidates(face_tracks).to_pylist(), face_tracks, settings.speakers
    )
    detector: SpeechDetector = settings.speech.selected_backend.open(settings.speech)
    with closing(detector), ArchiveWriter(folder / CLIPS_TAR) as archive:
        selection = _Selection(face_tracks, crop_mode, settings, detector, speaking, errors)
        for candidate in candidates:
            source = sources[candidate["video_id"]]
            row = _row(candidate, source)
            row["recorded_share"] = recorded_share(
                recorded[candidate["video_id"]], candidate["first_frame"], candidate["frames"]
            )
            if candidate["offset_bytes"] >= 0:
                members: dict[str, bytes] = {}
                with failed.caught(candidate["key"]):
                    clip, row = selection.select(candidate, row, source)
                    if row["accepted"]:
                        members, moves = encode_clip(clip), measure_motion(clip.landmarks_px)
                        pieces = motion.setdefault(candidate["video_id"], [])
                        pieces.append((candidate["track"], candidate["first_frame"], moves))
                if candidate["key"] in failed:
                    row |= {"accepted": False, "reason": FAILED, "score": None, "threshold": None}
                elif members:
                    row |= asdict(archive.write(candidate["key"], members))
            rows.append(row)
    rows.sort(key=lambda row: row["key"])
    write_clip_table(folder, rows)
    of_videos = {each: _landmarks(face_tracks / each / SOUND_NAME, motion[each]) for each in sorted(motion)}
    write_landmarks(of_videos, folder)
    failed.finish(folder, sum(row["reason"] != FAILED for row in rows))
    return _report(rows, face_tracks)


def _landmarks(
    sound: Path, motion: Sequence[tuple[int, int, NDArray[np.float32]]]
) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """Hashes, ascending, and times of a video's landmarks of sound and motion."""
    of_both = [sound_landmarks_of(sound), find_motion_landmarks(motion)]
    hashes, times = zip(*of_both, strict=True)
    return np.concatenate(hashes), np.concatenate(times)


class _Selection:
    """Decides on one candidate after the other."""

    def __init__(
        self,
        face_tracks: Path,
        crop_mode: CropMode,
        settings: ClipSettings,
        detector: SpeechDetector,
        speaking: Mapping[str, Speaking],
        errors: Mapping[str, Exception],
    ) -> None:
        self._face_tracks, self._settings = face_tracks, settings
        self._crop_mode: CropMode = crop_mode
        self._speaking, self._errors = speaking, errors
        self._loudness = cache(lambda video_id: read_loudness(face_tracks / video_id / SOUND_NAME))
        self._detect = cache(lambda video_id: detector.detect(face_tracks / video_id / SOUND_NAME))

    def select(
        self, candidate: Mapping[str, Any], row: dict[str, Any], source: SourceOfClips
    ) -> tuple[Clip, dict[str, Any]]:
        """The clip of a candidate, and its row with scores and decision."""
        video_id, main_face = candidate["video_id"], candidate["main_face"]
        if video_id in self._errors:
            raise self._errors[video_id]
        clip = cut_clip(
            candidate,
            source,
            row["identity"],
            self._crop_mode,
            self._face_tracks,
            self._loudness(video_id),
            self._detect(video_id),
            self._settings.speech,
        )
        row = row | clip.scores
        voice = self._speaking.get(candidate["key"])
        if voice is not None:
            row |= {"speaking_score": voice.score, "speaking_margin": voice.margin}
        row |= _first_refusal(row, main_face, self._settings, voice)
        return (
            _listed(clip, row, main_face, source, self._settings, voice) if source.segments else (clip, row)
        )


def _listed(
    clip: Clip,
    row: dict[str, Any],
    main_face: bool,
    source: SourceOfClips,
    settings: ClipSettings,
    voice: Speaking | None,
) -> tuple[Clip, dict[str, Any]]:
    """The clip and its row by the segment that it is part of: a face that is listed is the main one."""
    segment = find_segment(clip, source, row["face_size_px"])
    if segment is None:
        refusal = {"accepted": False, "reason": "not_the_listed_face", "score": row["face_size_px"]}
        return clip, row | refusal | {"threshold": None}
    is_named = segment.box_at(clip.source.first_frame) is not None
    clip = of_segment(clip, segment, is_main=main_face or is_named)
    refusal = _first_refusal(row, main_face or is_named, settings, None if is_named else voice)
    return clip, row | refusal | {"identity": clip.identity}


def _row(candidate: Mapping[str, Any], source: SourceOfClips) -> dict[str, Any]:
    main = candidate["main_face"]
    row = {name: candidate[name] for name in ("key", "video_id", "track", "first_frame", "frames")}
    row |= {name: candidate[name] for name in TRACK_SCORES}
    refused = candidate["refused"]
    return row | {
        "identity": source.identity if main else f"{source.identity} face {candidate['track']}",
        "relative_path": source.relative_path,
        "accepted": False,
        "reason": refused or "too_short",
        "score": float(candidate["frames"]),
        "threshold": None if refused else float(candidate["minimum_frames"]),
        "offset_bytes": -1,
        "size_bytes": 0,
    }


def _first_refusal(
    row: Mapping[str, Any], main_face: bool, settings: ClipSettings, voice: Speaking | None
) -> dict[str, Any]:
    """Accepted, or the first failed threshold, the most telling ones first.

    `voice` is whether the face speaks, rather than those beside it; without speech, that is no question.
    """
    if voice is not None and row.get("speech_share", 1.0) >= settings.speech.minimum_share:
        refusal = voice.refusal(settings.speakers)
        if refusal is not None:
            return refusal
    if not main_face and not settings.keep_other_faces:
        score = row["face_size_px"]
        return {"accepted": False, "reason": "not_the_main_face", "score": score, "threshold": None}
    values = settings.model_dump()
    for bound in BOUNDS:
        score = row.get(bound.score)
        if score is None or not bound.fails(score, threshold := bound.threshold(values)):
            continue
        reason = bound.reason
        if bound is SPEECH:
            reason = reason_of_missing_speech(row, settings.speech, settings.minimum_speech_level_dbfs)
        return {"accepted": False, "reason": reason, "score": score, "threshold": threshold}
    return {"accepted": True, "reason": "", "score": None, "threshold": None}


def _report(rows: list[dict[str, Any]], face_tracks: Path) -> BuildReport:
    accepted = [row for row in rows if row["accepted"]]
    refusals: dict[str, int] = {}
    for row in rows:
        if not row["accepted"]:
            refusals[row["reason"]] = refusals.get(row["reason"], 0) + 1
    videos = read_video_facts(face_tracks)
    counts = {
        "videos": len(videos),
        "videos_with_clips": len({row["video_id"] for row in accepted}),
        "candidates": len(rows),
        "clips": len(accepted),
        "frames": sum(row["frames"] for row in accepted),
        "seconds_of_speech": round(sum(row.get("speech_seconds", 0.0) for row in accepted), 2),
        "identities": len({row["identity"] for row in accepted}),
    }
    return BuildReport(counts=counts, refusals=refusals)


def _video_facts(batch: VideoBatch) -> JsonValue:
    facts: list[JsonValue] = [
        [
            video.video_id,
            video.identity,
            video.relative_path,
            *facts_of_sources(video.segments, video.picture_px),
        ]
        for video in batch.videos
    ]
    return facts


def _recipe_settings(settings: ClipSettings) -> dict[str, Any]:
    return dict(settings) | {"speech": settings.speech.deciding_settings()}


def _build(run: StepRun[ClipSettings]) -> BuildReport:
    sources = {
        video.video_id: SourceOfClips(video.identity, video.relative_path, video.segments, video.picture_px)
        for video in run.batch.videos
    }
    face_tracks = run.upstream["face_tracks"]
    alignment = cast("Mapping[str, CropMode]", run.upstream_settings["face_tracks"]["alignment"])
    labellers = read_labellers(face_tracks)
    if run.settings.speech.backend != "none":
        labellers["speech"] = run.settings.speech.selected_backend.labeller_name()
    if labellers:
        write_labellers(run.folder, labellers)
    return make_clips(sources, face_tracks, alignment["mode"], run.settings, run.folder)


STEP: Final = Step(
    name="clips",
    upstream=("face_tracks",),
    settings=ClipSettings,
    code_version=CODE_VERSION,
    build=_build,
    source_facts=_video_facts,
    backend_settings=lambda settings: settings.speech,
    recipe_settings=_recipe_settings,
    description="Candidates that pass every threshold, with their sound. Every refusal is a row with its "
    "reason and score. Reads no video, so changing a threshold is cheap.",
    group="preprocessing",
    kinds=frozenset({"webdataset", "parquet"}),
    columns=CLIPS_SCHEMA,
)
