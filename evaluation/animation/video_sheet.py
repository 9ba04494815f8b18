"""A contact sheet of a video: a look at it where no player is, as in Dagster's log."""

from pathlib import Path
from typing import Final

from PIL import Image

from evaluation.animation.media import read_pictures
from preprocessing.pictures.drawing import (
    MAXIMUM_PICTURE_BYTES,
    Cell,
    Line,
    draw_sheet,
    encode_picture,
    evenly,
)
from preprocessing.schema import FRAMES_PER_SECOND

SHEET_WIDTH_PX: Final = 800
CELL_HEIGHT_PX: Final = 160
PANEL_HEIGHT_PX: Final = 110  # of a side-by-side video, whose panels lie in one row


def draw_frame_sheet(
    video: Path, frames: int, *, count: int = 10, maximum_bytes: int = MAXIMUM_PICTURE_BYTES
) -> bytes:
    """JPEG of a video's frames, evenly chosen over its length.

    Args:
        video: at 25 frames a second; a wide one (side by side) gets fewer columns.
        frames: how many it has.
        count: frames shown.
        maximum_bytes: the JPEG's bound.

    Raises:
        ValueError: the file is no video, or is shorter than `frames`.
    """
    wanted = evenly(range(frames), count)
    cells: list[Cell] = []
    for frame in read_pictures(video):
        if len(cells) < len(wanted) and frame.index == wanted[len(cells)]:
            picture = Image.fromarray(frame.image)
            height = CELL_HEIGHT_PX if picture.width < 2 * picture.height else PANEL_HEIGHT_PX
            size = (round(picture.width * height / picture.height), height)
            caption = Line(f"frame {frame.index}, {frame.index / FRAMES_PER_SECOND:.2f} s")
            cells.append(Cell(picture.resize(size, Image.Resampling.BICUBIC), (caption,)))
    if len(cells) < len(wanted):
        raise ValueError(f"{video}: ends before frame {wanted[len(cells)]} of {frames}")
    columns = max(1, SHEET_WIDTH_PX // cells[0].image.width)
    explanation = (f"{frames} frames, {frames / FRAMES_PER_SECOND:.2f} s; every cell is one frame",)
    return encode_picture(draw_sheet(video.name, explanation, cells, columns), maximum_bytes)
