"""Contact sheets: the middle frame of clips or candidates with the face mesh drawn on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from preprocessing.archive import Place, read_members
from preprocessing.clips.store import accepted_clips, read_clip
from preprocessing.faces.candidate_tables import CANDIDATES_SCHEMA
from preprocessing.faces.shape.landmark_groups import (
    FACE_OVAL,
    IMAGE_LEFT_EYE,
    IMAGE_LEFT_EYEBROW,
    IMAGE_LEFT_IRIS,
    IMAGE_RIGHT_EYE,
    IMAGE_RIGHT_EYEBROW,
    IMAGE_RIGHT_IRIS,
    LIPS_INNER,
    LIPS_OUTER,
)
from preprocessing.pictures.drawing import (
    FAINT_INK,
    MAXIMUM_PICTURE_BYTES,
    Cell,
    Colour,
    Line,
    draw_message,
    draw_sheet,
    encode_picture,
    evenly,
    open_jpeg,
    open_view,
    spread,
)
from preprocessing.schema import CROP_SIDE_PX, Clip
from preprocessing.shards import decode_array

COLUMNS: Final = 3
CELL_SIDE_PX: Final = 148
VIEW_SIDE_PX: Final = 2 * CROP_SIDE_PX
OUTLINES: Final[tuple[tuple[tuple[int, ...], Colour], ...]] = (
    (FACE_OVAL, (240, 240, 240)),
    (LIPS_OUTER, (255, 80, 100)),
    (LIPS_INNER, (255, 80, 100)),
    (IMAGE_LEFT_EYE, (80, 230, 255)),
    (IMAGE_RIGHT_EYE, (80, 230, 255)),
    (IMAGE_LEFT_IRIS[1:], (255, 220, 60)),
    (IMAGE_RIGHT_IRIS[1:], (255, 220, 60)),
)
BROWS: Final = (
    IMAGE_LEFT_EYEBROW[:5],
    IMAGE_LEFT_EYEBROW[5:],
    IMAGE_RIGHT_EYEBROW[:5],
    IMAGE_RIGHT_EYEBROW[5:],
)
BROW_COLOUR: Final = (150, 255, 120)


@dataclass(frozen=True)
class SheetFace:
    """One frame of a clip or candidate, and its caption."""

    jpeg: bytes = field(repr=False)
    landmarks_px: NDArray[np.float32] = field(repr=False)  # [478, 3]
    name: str  # the caption's first line
    detail: str  # its second


def draw_contact_sheet(clips: Path, *, count: int = 12, maximum_bytes: int = MAXIMUM_PICTURE_BYTES) -> bytes:
    """JPEG of a batch's accepted clips, spread over its identities.

    Args:
        clips: folder of the step `clips`.
        count: clips at most.
        maximum_bytes: of the JPEG.
    """
    rows = accepted_clips(clips)
    title = f"Clips: {min(count, len(rows))} of {len(rows)}, {len({row.identity for row in rows})} identities"
    chosen = spread(rows, lambda row: row.identity, count)
    return draw_faces(title, [clip_face(read_clip(clips, row)) for row in chosen], maximum_bytes)


def draw_candidate_sheet(
    face_tracks: Path, *, count: int = 12, maximum_bytes: int = MAXIMUM_PICTURE_BYTES
) -> bytes:
    """JPEG of a batch's candidates, before any threshold, spread over its videos.

    Args:
        face_tracks: folder of the step `face_tracks`.
        count: candidates at most.
        maximum_bytes: of the JPEG.
    """
    videos = sorted(path.parent for path in face_tracks.glob("*/candidates.tar"))
    rows: list[dict[str, Any]] = [
        {**row, "folder": folder}
        for folder in evenly(videos, count)
        for row in pq.read_table(folder / "candidates.parquet", schema=CANDIDATES_SCHEMA).to_pylist()
        if row["offset_bytes"] >= 0
    ]
    faces = []
    for row in spread(rows, lambda row: row["video_id"], count):
        place = Place(row["offset_bytes"], row["size_bytes"])
        members = read_members(row["folder"] / "candidates.tar", place)
        landmarks_px = decode_array(row["key"], members, "landmarks.npy")
        middle = row["frames"] // 2
        jpeg, size = members[f"{middle:03d}.jpg"], f"{row['face_size_px']:.0f} px face"
        place_in_video = "main face" if row["main_face"] else "not the main face"
        faces.append(SheetFace(jpeg, landmarks_px[middle], row["key"], f"{size}, {place_in_video}"))
    return draw_faces(f"Candidates: {len(faces)} from {len(videos)} videos with a face", faces, maximum_bytes)


def clip_face(clip: Clip) -> SheetFace:
    """The middle frame of a clip."""
    middle = clip.frame_count // 2
    return SheetFace(clip.frames_jpeg[middle], clip.landmarks_px[middle], clip.identity, clip.key)


def draw_faces(title: str, faces: Sequence[SheetFace], maximum_bytes: int = MAXIMUM_PICTURE_BYTES) -> bytes:
    """JPEG of faces with their landmarks in a grid; a message if there are none."""
    if not faces:
        return draw_message(title, "No faces.", maximum_bytes)
    explanation = ("Middle frame of each. White: face, blue: eyes, yellow: irises, red: lips, green: brows.",)
    cells = [
        Cell(
            draw_landmarks(face.jpeg, face.landmarks_px, CELL_SIDE_PX),
            (Line(face.name), Line(face.detail, FAINT_INK)),
        )
        for face in faces
    ]
    return encode_picture(draw_sheet(title, explanation, cells, COLUMNS), maximum_bytes)


def draw_landmarks(jpeg: bytes, landmarks_px: NDArray[np.float32], side_px: int) -> Image.Image:
    """A crop with the outlines of its landmarks [478, 3], `side_px` wide and high."""
    view = open_view(open_jpeg(jpeg), (0, 0, CROP_SIDE_PX, CROP_SIDE_PX), VIEW_SIDE_PX)
    for points, colour in OUTLINES:
        outline = view.place(landmarks_px[list(points)])
        view.draw.line([*outline, outline[0]], fill=colour, width=3, joint="curve")
    for points in BROWS:
        view.draw.line(view.place(landmarks_px[list(points)]), fill=BROW_COLOUR, width=3, joint="curve")
    return view.finish(side_px, side_px)
