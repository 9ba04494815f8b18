"""A batch's clips on disk: `clips.tar` with the accepted ones, `clips.parquet` with all candidates."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.archive import Place, read_members
from preprocessing.schema import Clip
from preprocessing.shards import decode_clip
from preprocessing.table_schema import column, table_schema

CLIPS_TAR: Final = "clips.tar"
CLIPS_TABLE: Final = "clips.parquet"

CLIPS_SCHEMA: Final = table_schema(
    column("key", pa.string(), "clip's key: video, track, first frame"),
    column("identity", pa.string(), "who is seen; a face beside the main one is its own identity"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("relative_path", pa.string(), "source, below its scanned folder"),
    column("track", pa.int32(), "face track within the video"),
    column("first_frame", pa.int64(), "first frame on the 25 fps grid"),
    column("frames", pa.int32(), "number of frames"),
    column("accepted", pa.bool_(), "whether the clip goes on"),
    column("reason", pa.string(), "why not; empty where accepted"),
    column("score", pa.float64(), "the score that the reason names"),
    column("threshold", pa.float64(), "the bound that it fails"),
    column("face_size_px", pa.float64(), "longer side of the face's box in the source, median, px"),
    column("sharpness", pa.float64(), "variance of the crop's Laplacian, median"),
    column("brightness", pa.float64(), "mean grey level of the crop, 0 to 255, median"),
    column("largest_step", pa.float64(), "largest movement between neighbouring frames, face sizes"),
    column("outside_share", pa.float64(), "largest share of a crop beyond the source's edge"),
    column("repeated_share", pa.float64(), "share of frames whose face is that of the frame before"),
    column("standing_frames", pa.float64(), "longest run of such frames"),
    column("recorded_share", pa.float64(), "share of the sound that was recorded, not put in"),
    column("head_angle_rad", pa.float64(), "largest angle between the face and the camera's axis"),
    column("mouth_motion", pa.float64(), "standard deviation of the mouth opening, face scales"),
    column(
        "speaking_score", pa.float64(), "correlation of mouth and sound; null: no other face is beside it"
    ),
    column("speaking_margin", pa.float64(), "that score less the best one of the other faces"),
    column("speech_level_dbfs", pa.float64(), "loudness of the clip's loudest second"),
    column("speech_share", pa.float64(), "share of the frames with speech; null: not detected"),
    column("speech_seconds", pa.float64(), "duration of the frames with speech"),
    column("other_sound_dbfs", pa.float64(), "loudness of the loudest second of the frames without speech"),
    column("sound_flatness", pa.float64(), "spectral flatness of the frames without speech: music < noise"),
    column("offset_bytes", pa.int64(), "where the clip begins in clips.tar; -1 where refused"),
    column("size_bytes", pa.int64(), "bytes of the clip in clips.tar"),
)


@dataclass(frozen=True)
class ClipRow:
    """An accepted clip, and where to read it."""

    key: str
    identity: str
    video_id: str  # first 16 hex digits of the source's sha256
    frames: int
    place: Place


def accepted_clips(folder: Path) -> list[ClipRow]:
    """The accepted clips of a batch, by key."""
    table = read_clip_table(folder)
    rows = table.filter(table["accepted"]).to_pylist()
    return [
        ClipRow(
            row["key"],
            row["identity"],
            row["video_id"],
            row["frames"],
            Place(row["offset_bytes"], row["size_bytes"]),
        )
        for row in rows
    ]


def read_clip_table(folder: Path) -> pa.Table:
    """Read the rows of all candidates, refused ones too."""
    return pq.read_table(folder / CLIPS_TABLE, schema=CLIPS_SCHEMA)


def read_clip(folder: Path, row: ClipRow) -> Clip:
    """Read one clip, without the others."""
    return decode_clip(row.key, read_members(folder / CLIPS_TAR, row.place))


def read_clips(folder: Path) -> Iterator[Clip]:
    """Read the accepted clips in the order of their keys, one at a time."""
    for row in accepted_clips(folder):
        yield read_clip(folder, row)


def write_clip_table(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write the table of all candidates, accepted and refused."""
    pq.write_table(pa.Table.from_pylist(rows, schema=CLIPS_SCHEMA), folder / CLIPS_TABLE)
