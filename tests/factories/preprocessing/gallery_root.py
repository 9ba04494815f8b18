"""A root with one batch of grey clips: two accepted, one refused with its pictures, one too short."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from upath import UPath

from preprocessing.anchors.eye_anchors import ANCHORS_SCHEMA, ANCHORS_TAR, EyeAnchorSettings
from preprocessing.archive import ArchiveWriter
from preprocessing.clips.selection import ClipSettings
from preprocessing.clips.store import CLIPS_TABLE, CLIPS_TAR, write_clip_table
from preprocessing.dataset.packing import ShardSettings
from preprocessing.faces.candidate_tables import CANDIDATES_SCHEMA
from preprocessing.labels.lip_sync import SCORES_SCHEMA, SCORES_TABLE
from preprocessing.schema import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, Clip
from preprocessing.shards import encode_array, encode_clip
from storage.publishing import BuildReport, Published, Recipe, materialise
from tests.factories.preprocessing.published_steps import (
    frontal_landmarks,
    grey_jpeg,
    key_of,
    make_clip,
    make_sample,
    publish_gazes,
    publish_poses,
    publish_shard,
)

BATCH: Final = "b00000-01234567"
ANN, BOB = "a" * 16, "b" * 16
FIRST, SECOND = key_of(ANN), key_of(BOB, first_frame=50)
REFUSED, SHORT = key_of(BOB, first_frame=100), key_of(BOB, first_frame=150)
FRAMES: Final = 4
SCORES: Final[dict[str, float]] = {
    "face_size_px": 100.0,
    "sharpness": 20.0,
    "brightness": 120.0,
    "largest_step": 0.02,
    "outside_share": 0.0,
    "repeated_share": 0.0,
    "standing_frames": 0.0,
    "recorded_share": 1.0,
    "head_angle_rad": 0.1,
    "mouth_motion": 0.1,
    "speech_level_dbfs": -20.0,
}


def publish_gallery_root(root: UPath, *, file: str = "ann/a.mp4", minimum_sharpness: float = 8.0) -> None:
    """Publish the steps of `BATCH`; `file` is the path of the first clip's video."""
    clips = [
        make_clip(ANN, "ann", frames=FRAMES),
        make_clip(BOB, "bob", first_frame=50, frames=FRAMES),
    ]
    refused = make_clip(BOB, "bob", first_frame=100, frames=FRAMES)
    _publish(root, "face_tracks", {}, lambda folder: _write_tracks(folder, refused))
    rows = [
        _row(clips[0], file, sharpness=20.0),
        {**_row(clips[1], "bob/b.mp4", sharpness=10.0), "speaking_score": 0.4, "speaking_margin": 0.1},
        _row(refused, "bob/b.mp4", sharpness=6.0, refusal=("blurred", 6.0, minimum_sharpness)),
        {**_row(refused, "bob/b.mp4", refusal=("too_short", 4.0, 25.0)), "key": SHORT, "sharpness": None},
    ]
    settings = ClipSettings(minimum_sharpness=minimum_sharpness)
    _publish(root, "clips", settings, lambda folder: _write_clips(folder, clips, rows))
    yaws = {FIRST: 0.0, SECOND: 0.5}
    poses = {
        key: np.tile(np.array([0, yaw, 0, 0, 0, 0], np.float32), (FRAMES, 1)) for key, yaw in yaws.items()
    }
    eyes = {key: np.zeros((FRAMES, 4), np.float32) for key in yaws}
    _publish(root, "pose_labels", {}, lambda folder: _moved(publish_poses(folder / "made", poses)))
    _publish(root, "gaze_labels", {}, lambda folder: _moved(publish_gazes(folder / "made", eyes)))
    sync = [{"key": FIRST, "scorer": "s 1", "confidence": 0.5, "offset_frames": 1.0}]
    _write_table(root, "lip_sync_scores", {}, SCORES_TABLE, pa.Table.from_pylist(sync, schema=SCORES_SCHEMA))
    _publish(root, "eye_anchors", EyeAnchorSettings(), _write_anchors)
    sample = make_sample(clips[0])
    _publish(
        root,
        "shards",
        ShardSettings(),
        lambda folder: _moved(publish_shard(folder / "made", "s.tar", [sample])),
    )


def _row(
    clip: Clip, file: str, *, sharpness: float = 20.0, refusal: tuple[str, float, float] | None = None
) -> dict[str, Any]:
    reason, score, threshold = refusal or ("", None, None)
    return SCORES | {
        "key": clip.key,
        "identity": clip.identity,
        "video_id": clip.source.video_id,
        "relative_path": file,
        "track": 0,
        "first_frame": clip.source.first_frame,
        "frames": FRAMES,
        "accepted": refusal is None,
        "reason": reason,
        "score": score,
        "threshold": threshold,
        "sharpness": sharpness,
        "offset_bytes": -1,
        "size_bytes": 0,
    }


def _write_clips(folder: Path, clips: list[Clip], rows: list[dict[str, Any]]) -> None:
    with ArchiveWriter(folder / CLIPS_TAR) as archive:
        for clip, row in zip(clips, rows, strict=False):
            place = archive.write(clip.key, encode_clip(clip))
            row |= {"offset_bytes": place.offset_bytes, "size_bytes": place.size_bytes}
    write_clip_table(folder, rows)
    assert (folder / CLIPS_TABLE).is_file()


def _write_tracks(folder: Path, refused: Clip) -> None:
    video = folder / BOB
    video.mkdir()
    with ArchiveWriter(video / "candidates.tar") as archive:
        members = {f"{number:03d}.jpg": grey_jpeg(200) for number in range(FRAMES)}
        members["landmarks.npy"] = encode_array(frontal_landmarks(FRAMES))
        place = archive.write(refused.key, members)
    rows = [
        {"key": REFUSED, "video_id": BOB, "offset_bytes": place.offset_bytes, "size_bytes": place.size_bytes},
        {"key": SHORT, "video_id": BOB, "offset_bytes": -1, "size_bytes": 0},
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=CANDIDATES_SCHEMA), video / "candidates.parquet")
    facts = {"video_id": BOB, "refused": "", "detail": ""}
    (video / "video.json").write_text(json.dumps(facts))
    ramp = np.arange(160 * SAMPLES_PER_FRAME, dtype=np.int16)
    soundfile.write(video / "sound.flac", ramp, SAMPLE_RATE_HZ, subtype="PCM_16")


def _write_anchors(folder: Path) -> None:
    errors = {"gaze_error_rad": 0.05, "blink_error": 0.1, "rest_error_px": 1.0}
    common = {"key": FIRST, "identity": "ann", "eyes_key": SECOND, "eyes_frame": 1, "eyes_identity": "bob"}
    with ArchiveWriter(folder / ANCHORS_TAR) as archive:
        place = archive.write(f"{FIRST}-a00", {"jpg": grey_jpeg(50)})
    rows = [
        {"key": SECOND, "eyes_key": "", "accepted": False, "reason": "no_pair"},
        {
            **common,
            **errors,
            "base_frame": 0,
            "accepted": True,
            "reason": "",
            "offset_bytes": place.offset_bytes,
        }
        | {"size_bytes": place.size_bytes},
        {**common, **errors, "base_frame": 2, "accepted": False, "reason": "rest_of_face_moved"}
        | {"rest_error_px": 2.5},
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=ANCHORS_SCHEMA), folder / "anchors.parquet")


def _write_table(root: UPath, asset: str, settings: Any, name: str, table: pa.Table) -> None:
    _publish(root, asset, settings, lambda folder: pq.write_table(table, folder / name))


def _moved(folder: Path) -> None:
    """The files of a folder, one level up: the factories make the folder that they write to."""
    for path in [*folder.iterdir()]:
        path.rename(folder.parent / path.name)
    folder.rmdir()


def _publish(root: UPath, asset: str, settings: Any, write: Callable[[Path], object]) -> Published:
    def build(folder: Path) -> BuildReport:
        write(folder)
        return BuildReport(counts={}, refusals={})

    return materialise(root, Recipe(asset, BATCH, "1", settings, {}), build, force=True)
