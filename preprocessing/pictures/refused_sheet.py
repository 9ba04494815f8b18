"""Sheets of refused clips: the pictures nearest to the bound that they fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing.archive import Place, read_some_members
from preprocessing.clips.bounds import BOUND_OF_REASON
from preprocessing.clips.store import read_clip_table
from preprocessing.faces.candidate_tables import CANDIDATES_SCHEMA
from preprocessing.pictures.drawing import MAXIMUM_PICTURE_BYTES
from preprocessing.pictures.mesh_sheet import SheetFace, draw_faces
from preprocessing.schema import FRAMES_PER_SECOND
from preprocessing.shards import decode_array

COUNT: Final = 12


def draw_refused_sheet(
    clips: Path, face_tracks: Path, *, count: int = COUNT, maximum_bytes: int = MAXIMUM_PICTURE_BYTES
) -> bytes:
    """JPEG of the refused clips nearest to their bound, in turn of every reason.

    Args:
        clips: folder of the step `clips`.
        face_tracks: folder of the step `face_tracks`, which holds the pictures of refused clips.
        count: clips at most.
        maximum_bytes: of the JPEG.
    """
    table = read_clip_table(clips)
    refused = table.filter(
        ~pc.field("accepted") & pc.field("score").is_valid() & pc.field("threshold").is_valid()
    )
    rows = [row for row in refused.to_pylist() if row["reason"] in BOUND_OF_REASON]
    faces: list[SheetFace] = []
    for row in nearest_of_each_reason(rows):
        if len(faces) == count:
            break
        if (face := _face(row, face_tracks)) is not None:
            faces.append(face)
    title = f"Refused, nearest to their bounds: {len(faces)} of {len(rows)}"
    return draw_faces(title, faces, maximum_bytes)


def nearest_of_each_reason(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Refused rows: the nearest to its bound of every reason, then the second of every reason, and so on."""
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=_distance):
        by_reason.setdefault(row["reason"], []).append(row)
    for place in range(max(map(len, by_reason.values()), default=0)):
        yield from (each[place] for each in by_reason.values() if place < len(each))


def _distance(row: dict[str, Any]) -> float:
    return abs(row["score"] - row["threshold"]) / max(abs(row["score"]), abs(row["threshold"]), 1e-9)


def _face(row: dict[str, Any], face_tracks: Path) -> SheetFace | None:
    """The middle frame of a refused clip; None where its pictures were not kept."""
    folder = face_tracks / row["video_id"]
    found = pq.read_table(
        folder / "candidates.parquet", schema=CANDIDATES_SCHEMA, filters=[("key", "==", row["key"])]
    ).to_pylist()
    if not found or found[0]["offset_bytes"] < 0:
        return None
    place = Place(found[0]["offset_bytes"], found[0]["size_bytes"])
    middle = row["frames"] // 2
    picture = f"{middle:03d}.jpg"
    members = read_some_members(folder / "candidates.tar", place, (picture, "landmarks.npy"))
    bound = BOUND_OF_REASON[row["reason"]]
    score, threshold = row["score"] * bound.scale, row["threshold"] * bound.scale
    seconds = row["first_frame"] / FRAMES_PER_SECOND
    return SheetFace(
        members[picture],
        decode_array(row["key"], members, "landmarks.npy")[middle],
        f"{row['reason'].replace('_', ' ')}: {score:.3g} of {threshold:.3g}",
        f"{row['relative_path']} at {seconds:.1f} s",
    )
