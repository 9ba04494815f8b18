"""Small published steps without people: grey crops that carry a mean face's landmarks."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from preprocessing.archive import ArchiveWriter
from preprocessing.audio.sound_landmarks import write_landmarks
from preprocessing.clips.store import CLIPS_TAR, write_clip_table
from preprocessing.dataset import packing
from preprocessing.faces.shape.frame_of_reference import project_to_crop
from preprocessing.faces.shape.mean_face import load_mean_face
from preprocessing.labels.gaze import IRIS_TABLE
from preprocessing.labels.tables import GAZE_SCHEMA, IRIS_SCHEMA, POSE_NAMES, POSE_SCHEMA, write_labels
from preprocessing.schema import SAMPLES_PER_FRAME, Clip, ClipLabels, ClipSample, ClipSource, EyeAnchor
from preprocessing.shards import encode_clip, encode_sample
from tests.factories.preprocessing.clips import silence

LABELLERS = {"pose": "p 1", "gaze": "g 1", "blink": "b 1", "lip_sync": "s 1"}


def key_of(video: str, track: int = 0, first_frame: int = 0) -> str:
    return f"{video}-t{track:02d}-f{first_frame:07d}"


def grey_jpeg(level: int = 128) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (224, 224), (level, level, level)).save(buffer, "JPEG")
    return buffer.getvalue()


def frontal_landmarks(frames: int) -> NDArray[np.float32]:
    vertices = load_mean_face().vertices_cm
    points = np.column_stack([project_to_crop(vertices), np.zeros(len(vertices))])
    return np.repeat(points[None].astype(np.float32), frames, axis=0)


def make_clip(video: str, identity: str, *, track: int = 0, first_frame: int = 0, frames: int = 2) -> Clip:
    transforms = np.tile(np.eye(2, 3, dtype=np.float32), (frames, 1, 1))
    source = ClipSource(video, f"{identity}/{video}.mp4", track, first_frame, "official", transforms)
    return Clip(
        key=key_of(video, track, first_frame),
        identity=identity,
        source=source,
        frames_jpeg=(grey_jpeg(),) * frames,
        landmarks_px=frontal_landmarks(frames),
        sound=np.zeros(frames * SAMPLES_PER_FRAME, np.float32),
        video_sound=silence(),
        scores={"face_size_px": 100.0},
    )


def make_sample(
    clip: Clip,
    *,
    pose: tuple[float, ...] = (0.0,) * 6,
    labellers: Mapping[str, str] = LABELLERS,
    lip_sync: Mapping[str, float] | None = None,
    anchors: tuple[EyeAnchor, ...] = (),
) -> ClipSample:
    frames = clip.frame_count
    labels = ClipLabels(
        pose=np.tile(np.array(pose, np.float32), (frames, 1)),
        gaze=np.zeros((frames, 2), np.float32),
        blink=np.zeros((frames, 2), np.float32),
        lip_sync=dict(lip_sync or {}),
        labellers=dict(labellers),
    )
    return ClipSample(clip, labels, np.zeros((4 * frames + 16, 80), np.float32), anchors)


def eyes_of(clip: Clip) -> EyeAnchor:
    return EyeAnchor(0, clip.key, 0, clip.identity, grey_jpeg(), grey_jpeg(), 0.0, 0.0, 0.0)


def publish_clips(folder: Path, clips: list[Clip], refused: list[dict[str, Any]] | None = None) -> Path:
    folder.mkdir()
    rows = list(refused or [])
    with ArchiveWriter(folder / CLIPS_TAR) as archive:
        for clip in clips:
            place = archive.write(clip.key, encode_clip(clip))
            rows.append(
                {
                    "key": clip.key,
                    "identity": clip.identity,
                    "video_id": clip.source.video_id,
                    "frames": clip.frame_count,
                    "accepted": True,
                    "reason": "",
                    **clip.scores,
                    "offset_bytes": place.offset_bytes,
                    "size_bytes": place.size_bytes,
                }
            )
    write_clip_table(folder, rows)
    write_landmarks({}, folder)
    return folder


def publish_poses(folder: Path, poses: Mapping[str, NDArray[np.float32]]) -> Path:
    folder.mkdir()
    labels = {
        key: {name: pose[:, number] for number, name in enumerate(POSE_NAMES)}
        | {"residual_px": np.zeros(len(pose), np.float32)}
        for key, pose in poses.items()
    }
    write_labels(folder, POSE_SCHEMA, labels)
    return folder


def publish_gazes(folder: Path, eyes: Mapping[str, NDArray[np.float32]]) -> Path:
    """Eyes: by key, [T, 4] gaze pitch, yaw and both blinks."""
    folder.mkdir()
    names = ("pitch_rad", "yaw_rad", "blink_left", "blink_right")
    labels = {
        key: {name: values[:, number] for number, name in enumerate(names)}
        | {"valid": np.ones(len(values), np.bool_)}
        for key, values in eyes.items()
    }
    write_labels(folder, GAZE_SCHEMA, labels)
    write_labels(folder, IRIS_SCHEMA, labels, IRIS_TABLE)
    return folder


def publish_shard(folder: Path, name: str, samples: list[ClipSample]) -> Path:
    folder.mkdir(parents=True)
    rows = []
    with ArchiveWriter(folder / name) as archive:
        for sample in samples:
            clip = sample.clip
            place = archive.write(clip.key, encode_sample(sample))
            rows.append(
                {
                    "key": clip.key,
                    "identity": clip.identity,
                    "video_id": clip.source.video_id,
                    "frames": clip.frame_count,
                    "anchors": len(sample.anchors),
                    "shard": name,
                    "offset_bytes": place.offset_bytes,
                    "size_bytes": place.size_bytes,
                }
            )
    table = pa.Table.from_pylist(rows, schema=packing.SHARD_INDEX_SCHEMA)
    pq.write_table(table, folder / packing.SHARD_INDEX_TABLE)
    return folder
