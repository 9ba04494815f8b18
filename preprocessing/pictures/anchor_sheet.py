"""Anchor sheets: the frames of the eyes (v1) and of the face (v2), the composite, its errors."""

import heapq
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
from PIL import Image

from preprocessing.anchors.bounds import ANCHOR_BOUND_OF_REASON
from preprocessing.anchors.eye_anchors import (
    ANCHORS_SCHEMA,
    ANCHORS_TABLE,
    ANCHORS_TAR,
    EyeAnchorSettings,
    make_composite,
)
from preprocessing.archive import Place, read_members
from preprocessing.clips.store import ClipRow, accepted_clips, read_clip
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.pictures.drawing import (
    BAD,
    FAINT_INK,
    GOOD,
    MAXIMUM_PICTURE_BYTES,
    PAPER,
    Cell,
    Line,
    draw_message,
    draw_sheet,
    encode_picture,
    open_jpeg,
    spread,
)
from preprocessing.schema import CROP_SIDE_PX

COLUMNS: Final = 1
PICTURE_SIDE_PX: Final = 152
GAP_PX: Final = 3
TITLE: Final = "Eye anchors"
EXPLANATION: Final = (
    "Three pictures each: v1, the source of the eyes | v2, the face | the anchor: v2 with the eyes of v1.",
    "Measured on the anchor: gaze and blink against v1, the rest of the face against v2.",
)
REASONS: Final[Mapping[str, str]] = {
    "gaze_differs": "gaze differs from v1",
    "blink_differs": "blink differs from v1",
    "rest_of_face_moved": "face differs from v2",
    "no_face": "no face detected",
}


def draw_anchor_sheet(
    clips: Path,
    eye_anchors: Path,
    settings: EyeAnchorSettings,
    *,
    accepted: int = 3,
    refused: int = 2,
    maximum_bytes: int = MAXIMUM_PICTURE_BYTES,
) -> bytes:
    """JPEG of anchors beside their source frames; refused ones with the reason.

    Args:
        clips: folder of the step `clips`.
        eye_anchors: folder of the step `eye_anchors`.
        settings: of the anchors; their bounds are printed.
        accepted: anchors at most.
        refused: refused composites at most.
        maximum_bytes: of the JPEG.
    """
    rows = pq.read_table(eye_anchors / ANCHORS_TABLE, schema=ANCHORS_SCHEMA).to_pylist()
    tried = [row for row in rows if row["eyes_key"]]
    good = [row for row in tried if row["accepted"]]
    bad = [row for row in tried if not row["accepted"]]
    chosen = spread(good, lambda row: row["identity"], accepted)
    chosen += spread(bad, lambda row: row["reason"], refused)
    if not chosen:
        return draw_message(TITLE, f"No pair of frames fits among {len(rows)} clips.", maximum_bytes)
    title = f"{TITLE}: {len(good)} verified, {len(bad)} refused"
    return _draw(title, clips, eye_anchors, chosen, settings, maximum_bytes)


def draw_refused_anchor_sheet(
    clips: Path,
    eye_anchors: Path,
    settings: EyeAnchorSettings,
    *,
    count: int = 5,
    maximum_bytes: int = MAXIMUM_PICTURE_BYTES,
) -> bytes:
    """JPEG of the refused anchors nearest to the bound that they fail.

    Args:
        clips: folder of the step `clips`.
        eye_anchors: folder of the step `eye_anchors`.
        settings: of the anchors; their bounds are printed.
        count: anchors at most.
        maximum_bytes: of the JPEG.
    """
    rows = pq.read_table(eye_anchors / ANCHORS_TABLE, schema=ANCHORS_SCHEMA).to_pylist()
    bad = [row for row in rows if row["reason"] in ANCHOR_BOUND_OF_REASON]
    if not bad:
        return draw_message(TITLE, "None was refused for a bound.", maximum_bytes)
    chosen = heapq.nsmallest(count, bad, lambda row: _excess(row, settings))
    title = f"Refused, nearest to their bounds: {len(chosen)} of {len(bad)}"
    return _draw(title, clips, eye_anchors, chosen, settings, maximum_bytes)


def _excess(row: Mapping[str, Any], settings: EyeAnchorSettings) -> float:
    """Score over the bound that it fails, 1 at the bound."""
    bound = ANCHOR_BOUND_OF_REASON[row["reason"]]
    return row[bound.score] / max(bound.threshold(settings.model_dump()), 1e-9)


def _draw(
    title: str,
    clips: Path,
    eye_anchors: Path,
    rows: list[dict[str, Any]],
    settings: EyeAnchorSettings,
    maximum_bytes: int,
) -> bytes:
    by_key = {row.key: row for row in accepted_clips(clips)}
    cells = [_cell(clips, eye_anchors, by_key, row, settings) for row in rows]
    return encode_picture(draw_sheet(title, EXPLANATION, cells, COLUMNS), maximum_bytes)


def _cell(
    clips: Path,
    eye_anchors: Path,
    by_key: dict[str, ClipRow],
    row: dict[str, Any],
    settings: EyeAnchorSettings,
) -> Cell:
    step = PICTURE_SIDE_PX + GAP_PX
    strip = Image.new("RGB", (3 * step - GAP_PX, PICTURE_SIDE_PX), PAPER)
    sources = [(row["eyes_key"], row["eyes_frame"]), (row["key"], row["base_frame"])]
    clips_read = [(read_clip(clips, by_key[key]), frame) for key, frame in sources]
    frames = [clip.frames_jpeg[frame] for clip, frame in clips_read]
    if row["accepted"]:
        place = Place(row["offset_bytes"], row["size_bytes"])
        composite = read_members(eye_anchors / ANCHORS_TAR, place)["jpg"]
    else:
        eyes, base = ((decode_jpeg(clip.frames_jpeg[at]), clip.landmarks_px[at]) for clip, at in clips_read)
        composite = make_composite(base, eyes, settings)
    for number, jpeg in enumerate((*frames, composite)):
        strip.paste(_small(open_jpeg(jpeg)), (number * step, 0))
    colour = GOOD if row["accepted"] else BAD
    reason = "" if row["accepted"] else f"{REASONS.get(row['reason'], row['reason'])}; "
    names = Line(f"{reason}eyes {row['eyes_identity']} | face {row['identity']}", FAINT_INK)
    return Cell(strip, (Line(_errors(row, settings), colour), names))


def _errors(row: dict[str, Any], settings: EyeAnchorSettings) -> str:
    if row["gaze_error_rad"] is None:
        return "no measurement"
    gaze, bound = math.degrees(row["gaze_error_rad"]), math.degrees(settings.maximum_gaze_error_rad)
    return (
        f"gaze {gaze:.1f} of {bound:.1f}°, "
        f"blink {row['blink_error']:.2f} of {settings.maximum_blink_error:.2f}, "
        f"face {row['rest_error_px']:.1f} of {settings.maximum_rest_error_px:.1f} px"
    )


def _small(image: Image.Image) -> Image.Image:
    # Without margins, so that the eyes are large.
    margin = CROP_SIDE_PX // 8
    box = (margin, 0, CROP_SIDE_PX - margin, CROP_SIDE_PX - 2 * margin)
    return image.resize((PICTURE_SIDE_PX, PICTURE_SIDE_PX), Image.Resampling.LANCZOS, box)
