"""A small data set on disk whose every picture, row and label tells which clip and frame it is."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from preprocessing.archive import ArchiveWriter, Place
from preprocessing.dataset.index import INDEX_SCHEMA
from preprocessing.media.jpeg import encode_jpeg
from preprocessing.schema import (
    INDEX_TABLE,
    SCHEMA_VERSION,
    STATISTICS_NAME,
    Clip,
    ClipLabels,
    ClipSample,
    ClipSource,
    EyeAnchor,
)
from preprocessing.shards import encode_sample
from tests.factories.preprocessing.clips import silence
from training.data.shard_reader import ReaderSettings

SIDE_PX = 32
READER = ReaderSettings(frame_side_px=SIDE_PX)
FRAME, COMPOSITE, EYES = 0, 1, 2  # what a picture is of


@dataclass(frozen=True)
class MadeClip:
    """One clip of the data set; `eyes` are the identities of its anchors' v1."""

    identity: str
    split: str
    shard: int
    frames: int
    eyes: tuple[str, ...] = ()
    video: str = ""  # by default one of its own


CLIPS = (
    MadeClip("anna", "train", 0, 12, ("bert", "dora")),
    MadeClip("anna", "train", 0, 9),
    MadeClip("dora", "validation", 0, 8, ("anna", "emil")),
    MadeClip("bert", "train", 1, 14, ("anna", "nobody", "carl face 3")),
    MadeClip("carl face 3", "train", 1, 7),
    MadeClip("emil", "validation", 1, 11),
    MadeClip("carl", "train", 2, 10, ("emil",)),
)


def key_of(clip: int) -> str:
    """Key of the clip with this number in the list."""
    return f"clip-{clip:02d}"


def make_data_set(root: Path, clips: Sequence[MadeClip] = CLIPS, *, with_checksums: bool = False) -> Path:
    """Write shards, index and statistics; returns the data set's folder."""
    folder = root / "assets" / "dataset"
    folder.mkdir(parents=True)
    rows = list[dict[str, object]]()
    for shard in sorted({clip.shard for clip in clips}):
        name = f"assets/shard-{shard}.tar"
        with ArchiveWriter(root / name, with_checksums=with_checksums) as writer:
            for number, clip in enumerate(clips):
                if clip.shard == shard:
                    place = writer.write(key_of(number), encode_sample(made_sample(number, clip)))
                    rows.append(_row(number, clip, name, place))
    pq.write_table(pa.Table.from_pylist(rows, schema=INDEX_SCHEMA), folder / INDEX_TABLE)
    (folder / STATISTICS_NAME).write_text(
        json.dumps({"schema_version": SCHEMA_VERSION, "labellers": {"pose": {"p 1": len(clips)}}})
    )
    return folder


def made_sample(number: int, clip: MadeClip) -> ClipSample:
    """A sample that `read_picture` and the tests can tell apart from every other."""
    frames = clip.frames
    steps = np.arange(frames, dtype=np.float32)
    landmarks = np.zeros((frames, 478, 3), np.float32) + (100 * number + steps)[:, None, None]
    mel = np.repeat(np.arange(4 * frames + 16, dtype=np.float32)[:, None] / 512, 80, axis=1)
    source = ClipSource("0" * 16, "a.mp4", 0, 0, "official", np.zeros((frames, 2, 3), np.float32))
    jpegs = tuple(made_jpeg(number, frame, FRAME) for frame in range(frames))
    made = Clip(
        key_of(number),
        clip.identity,
        source,
        jpegs,
        landmarks,
        np.zeros(640 * frames, np.float32),
        silence(),
        {},
    )
    labels = ClipLabels(
        pose=np.repeat(steps[:, None], 6, 1) / 64 + number / 1024,
        gaze=np.repeat(steps[:, None], 2, 1) / 64,
        blink=np.repeat(steps[:, None], 2, 1) / 128,
        lip_sync={},
        labellers={},
    )
    anchors = tuple(
        EyeAnchor(
            base_frame=place + 1,
            eyes_key="elsewhere",
            eyes_frame=0,
            eyes_identity=eyes,
            composite_jpeg=made_jpeg(number, place, COMPOSITE),
            eyes_jpeg=made_jpeg(number, place, EYES),
            gaze_error_rad=0.0,
            blink_error=0.0,
            rest_error_px=0.0,
        )
        for place, eyes in enumerate(clip.eyes)
    )
    return ClipSample(made, labels, mel, anchors)


def made_jpeg(clip: int, frame: int, kind: int) -> bytes:
    """A picture of one colour; JPEG moves a plain colour by 2 levels at most."""
    colour = np.array([16 * clip + 8, 8 * frame + 4, 64 * kind + 32], np.uint8)
    return encode_jpeg(np.tile(colour, (SIDE_PX, SIDE_PX, 1)), 95)


def read_pictures(pictures: Tensor) -> list[tuple[int, int, int]]:
    """(clip, frame, kind) of every picture [..., 3, H, W]."""
    colours = pictures.reshape(-1, *pictures.shape[-3:])[:, :, SIDE_PX // 2, SIDE_PX // 2]
    return [(red // 16, green // 8, blue // 64) for red, green, blue in colours.tolist()]


def place_of(root: Path, key: str) -> tuple[Path, Place]:
    """Where a sample lies."""
    (row,) = [
        row
        for row in pq.read_table(root / "assets" / "dataset" / INDEX_TABLE).to_pylist()
        if row["key"] == key
    ]
    return root / row["shard"], Place(row["offset_bytes"], row["size_bytes"])


def damage_member(root: Path, key: str, member: str) -> None:
    """Overwrite the first 64 bytes of a member's data."""
    path, place = place_of(root, key)
    data = bytearray(path.read_bytes())
    header = data.index(f"{key}.{member}\0".encode(), place.offset_bytes)
    data[header + 512 : header + 576] = bytes(64)
    path.write_bytes(data)


def _row(number: int, clip: MadeClip, shard: str, place: Place) -> dict[str, object]:
    return {
        "key": key_of(number),
        "identity": clip.identity,
        "main_identity": clip.identity.removesuffix(" face 3"),
        "video_id": clip.video or f"{number:016d}",
        "split": clip.split,
        "frames": clip.frames,
        "anchors": len(clip.eyes),
        "batch": "b0",
        "shard": shard,
        "offset_bytes": place.offset_bytes,
        "size_bytes": place.size_bytes,
    }
