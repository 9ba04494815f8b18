"""The pictures, sound and labels of one clip or anchor, out of the builds that hold them.

A clip lies in the shards if it became a sample, else in the tar of accepted clips; a refused one in the tar
of its video's candidates. Whoever shows it reads its bytes in one range and takes the members out of them.
"""

import io
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from preprocessing.anchors.eye_anchors import ANCHORS_TABLE, ANCHORS_TAR, EyeAnchorSettings, make_composite
from preprocessing.archive import some_members
from preprocessing.audio.lip_sync_filter import VERDICTS_TABLE
from preprocessing.clips.bounds import BOUNDS
from preprocessing.clips.cutting import SOUND_NAME
from preprocessing.clips.store import CLIPS_TAR
from preprocessing.dataset.packing import SHARD_INDEX_TABLE
from preprocessing.gallery.index import GalleryIndex
from preprocessing.gallery.scored_tables import threshold_of
from preprocessing.gallery.selection import find, rows_at
from preprocessing.gallery.tables import open_table, rows_of_key
from preprocessing.labels.lip_sync import SCORES_TABLE
from preprocessing.labels.tables import BLINK_NAMES, GAZE_NAMES, LABELS_TABLE, POSE_NAMES
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from preprocessing.shards import decode_array
from storage.objects import read_bytes, read_range
from storage.publishing import Published

LANDMARKS: Final = "landmarks.npy"
VERDICT_FIELDS: Final = ("shift_frames", "refusal")


@dataclass(frozen=True)
class SampleBytes:
    """Where the members of a clip lie."""

    kind: str  # sample, clip or candidate
    published: Published
    file: str  # of the build
    offset: int
    size: int

    @property
    def location(self) -> str:
        """The file below the root."""
        return f"{self.published.location}/{self.file}"

    def read(self, *extensions: str) -> dict[str, bytes]:
        """Some of the members."""
        path = self.published.directory / self.file
        return some_members(read_range(path, self.offset, self.offset + self.size), extensions)


def clip_facts(index: GalleryIndex, batch: str, key: str) -> dict[str, Any]:
    """What is known of a clip, as JSON values: its row, bounds, labels, lip sync, and where its bytes lie.

    Raises:
        KeyError: there is no such clip.
    """
    row = find(index.clips(), batch, key)
    place = sample_bytes(index, row)
    settings = index.builds("clips")[batch].manifest.settings
    bounds = [
        {
            "reason": bound.reason,
            "title": bound.title,
            "unit": bound.unit,
            "is_minimum": bound.is_minimum,
            "score": row["scores"][bound.score] * bound.scale,
            "threshold": _or_none(threshold_of(bound, settings) * bound.scale),
        }
        for bound in BOUNDS
        if bound.score in row["scores"]
    ]
    where = None
    if place is not None:
        where = {"kind": place.kind, "location": place.location, "offset": place.offset, "size": place.size}
    return row | {
        "bounds": bounds,
        "bytes": where,
        "labels": _labels(index, batch, key),
        "lip_sync": _lip_sync(index, batch, key),
        "anchors": _anchors(index, batch, key),
    }


def sample_bytes(index: GalleryIndex, row: dict[str, Any]) -> SampleBytes | None:
    """Where a clip's members lie, by its row; None where its pictures were not kept."""
    batch, key = row["batch"], row["key"]
    if row["accepted"]:
        shards = index.builds("shards").get(batch)
        found_rows = [] if shards is None else rows_of_key(shards, SHARD_INDEX_TABLE, key)
        if shards is not None and found_rows:
            found = found_rows[0]
            return SampleBytes("sample", shards, found["shard"], found["offset_bytes"], found["size_bytes"])
    return clip_bytes(index, row)


def clip_bytes(index: GalleryIndex, row: dict[str, Any]) -> SampleBytes | None:
    """As `sample_bytes`, but never in the shards, where a clip may be shifted against its row."""
    batch, key = row["batch"], row["key"]
    if row["accepted"]:
        return SampleBytes(
            "clip", index.builds("clips")[batch], CLIPS_TAR, row["offset_bytes"], row["size_bytes"]
        )
    tracks, video = index.builds("face_tracks").get(batch), row["video_id"]
    if tracks is None or f"{video}/candidates.parquet" not in tracks.manifest.files:
        return None
    for found in rows_of_key(tracks, f"{video}/candidates.parquet", key):
        if found["offset_bytes"] >= 0:
            file = f"{video}/candidates.tar"
            return SampleBytes("candidate", tracks, file, found["offset_bytes"], found["size_bytes"])
    return None


def frame_jpeg(index: GalleryIndex, batch: str, key: str, frame: int | None) -> bytes:
    """A frame of a clip; None for the middle one.

    Raises:
        KeyError: there is no such clip or frame, or its pictures were not kept.
    """
    row = find(index.clips(), batch, key)
    number = row["frames"] // 2 if frame is None else frame
    place = clip_bytes(index, row)
    if place is None or not 0 <= number < row["frames"]:
        raise KeyError(f"frame {number} of {key}")
    name = f"{number:03d}.jpg"
    return place.read(name)[name]


def sound_wav(index: GalleryIndex, batch: str, key: str) -> bytes:
    """The sound of a clip as a WAV file, out of its video's; of refused clips no other is kept.

    Raises:
        KeyError: there is no such clip.
    """
    row = find(index.clips(), batch, key)
    tracks = index.builds("face_tracks")[batch]
    data = read_bytes(tracks.directory / row["video_id"] / SOUND_NAME)
    start, count = row["first_frame"] * SAMPLES_PER_FRAME, row["frames"] * SAMPLES_PER_FRAME
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        file.seek(min(start, file.frames))
        samples = file.read(count, dtype="int16")
    wav = io.BytesIO()
    soundfile.write(wav, samples, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return wav.getvalue()


def anchor_jpeg(index: GalleryIndex, batch: str, place: int) -> bytes:
    """The composite of an anchor: as it was kept, or of a refused one made again.

    Args:
        index: of the gallery.
        batch: its key.
        place: row of the anchors' table.

    Raises:
        KeyError: there is no such anchor.
        ValueError: the settings of its build are not those of this version.
    """
    published = index.builds("eye_anchors")[batch]
    with open_table(published, ANCHORS_TABLE) as file:
        table = file.read()
    if not 0 <= place < table.num_rows or not table["eyes_key"][place].as_py():
        raise KeyError(f"anchor {place} of {batch}")
    row: dict[str, Any] = table.slice(place, 1).to_pylist()[0]
    if row["accepted"]:
        anchor = SampleBytes("anchor", published, ANCHORS_TAR, row["offset_bytes"], row["size_bytes"])
        return anchor.read("jpg")["jpg"]
    settings = EyeAnchorSettings.model_validate(published.manifest.settings)
    base = _picture(index, batch, row["key"], row["base_frame"])
    return make_composite(base, _picture(index, batch, row["eyes_key"], row["eyes_frame"]), settings)


def _picture(
    index: GalleryIndex, batch: str, key: str, frame: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    place = clip_bytes(index, find(index.clips(), batch, key))
    if place is None:
        raise KeyError(key)
    name = f"{frame:03d}.jpg"
    members = place.read(name, LANDMARKS)
    return decode_jpeg(members[name]), decode_array(key, members, LANDMARKS)[frame]


def _labels(index: GalleryIndex, batch: str, key: str) -> dict[str, list[list[float]]]:
    """Pose [T, 6], gaze [T, 2] and blink [T, 2] of the label steps; those that are there."""
    labels: dict[str, list[list[float]]] = {}
    for step, kinds in (
        ("pose_labels", {"pose": POSE_NAMES}),
        ("gaze_labels", {"gaze": GAZE_NAMES, "blink": BLINK_NAMES}),
    ):
        build = index.builds(step).get(batch)
        rows = [] if build is None else rows_of_key(build, LABELS_TABLE, key)
        for kind, names in kinds.items():
            if rows:
                labels[kind] = [[round(row[name], 5) for name in names] for row in rows]
    return labels


def _lip_sync(index: GalleryIndex, batch: str, key: str) -> dict[str, Any]:
    """Scores of lip sync, and what the filter did with the clip."""
    facts: dict[str, Any] = {}
    scores = index.builds("lip_sync_scores").get(batch)
    for row in [] if scores is None else rows_of_key(scores, SCORES_TABLE, key):
        facts |= {name: value for name, value in row.items() if name not in ("key", "video_id")}
    shards = index.builds("shards").get(batch)
    if shards is not None and VERDICTS_TABLE in shards.manifest.files:
        for row in rows_of_key(shards, VERDICTS_TABLE, key):
            facts |= {name: row[name] for name in VERDICT_FIELDS}
    return facts


def _anchors(index: GalleryIndex, batch: str, key: str) -> list[dict[str, Any]]:
    table = index.anchors()
    if not len(table):
        return []
    found = (table.columns["key"].to_numpy() == key) & (table.columns["batch"].to_numpy() == batch)
    return rows_at(table, np.flatnonzero(found))


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
