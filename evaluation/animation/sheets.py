"""Contact sheets of videos, for places without a video player such as Dagster's event log."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.animation.media import read_pictures
from evaluation.generation.files import GeneratedVideos, Pictures
from evaluation.generation.reenactment import Reenactment
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
PANEL_HEIGHT_PX: Final = 110  # of side-by-side videos, which are wide
REENACTMENT_COLUMNS: Final = 6
REENACTMENT_CELL_PX: Final = 104
REENACTMENT_SHEET_BYTES: Final = 110_000  # stored in the event log


def draw_frame_sheet(
    video: Path, frames: int, *, count: int = 10, maximum_bytes: int = MAXIMUM_PICTURE_BYTES
) -> bytes:
    """JPEG of frames evenly spaced over a video.

    Args:
        video: At 25 fps; a wide one (side by side) gets fewer columns.
        frames: Its length.
        count: Number of frames shown.
        maximum_bytes: Size limit of the JPEG.

    Raises:
        ValueError: the file is no video, or is shorter than `frames`.
    """
    shown = evenly(range(frames), count)
    cells: list[Cell] = []
    for frame in read_pictures(video):
        if len(cells) < len(shown) and frame.index == shown[len(cells)]:
            picture = Image.fromarray(frame.image)
            height = CELL_HEIGHT_PX if picture.width < 2 * picture.height else PANEL_HEIGHT_PX
            size = (round(picture.width * height / picture.height), height)
            caption = Line(f"frame {frame.index}, {frame.index / FRAMES_PER_SECOND:.2f} s")
            cells.append(Cell(picture.resize(size, Image.Resampling.BICUBIC), (caption,)))
    if len(cells) < len(shown):
        raise ValueError(f"{video}: ends before frame {shown[len(cells)]} of {frames}")
    columns = max(1, SHEET_WIDTH_PX // cells[0].image.width)
    explanation = (f"{frames} frames, {frames / FRAMES_PER_SECOND:.2f} s; every cell is one frame",)
    return encode_picture(draw_sheet(video.name, explanation, cells, columns), maximum_bytes)


def draw_reenactment_sheets(generated: GeneratedVideos) -> bytes:
    """JPEG of two reenactments below each other: one whose drivers differ, if there is one, and the first."""
    order = ("cross", "control", "self")
    reenactments = generated.plan.reenactments
    varied = min(reenactments, key=lambda reenactment: order.index(reenactment.task))
    shown = {reenactment.name: reenactment for reenactment in (varied, reenactments[0])}
    return _stacked([draw_reenactment_sheet(generated, reenactment) for reenactment in shown.values()])


def draw_reenactment_sheet(generated: GeneratedVideos, reenactment: Reenactment) -> bytes:
    """JPEG of the portrait, then the video and its drivers, one per row, at evenly spaced frames."""
    last = reenactment.frames - 1
    indices = [column * last // (REENACTMENT_COLUMNS - 1) for column in range(REENACTMENT_COLUMNS)]
    portrait = generated.portrait(reenactment.name)
    cells = _row("generated", generated.model_frames(reenactment), indices, portrait)
    for key in dict.fromkeys(reenactment.drivers.values()):
        controls = [control for control, driver in reenactment.drivers.items() if driver == key]
        caption = "drives all" if reenactment.task == "self" else f"drives {', '.join(controls)}"
        cells += _row(caption, generated.clip_frames(key, reenactment.frames), indices, None)
    explanation = (f"{generated.facts.checkpoint}; {reenactment.frames} frames at 25 fps",)
    title = f"{reenactment.name}: portrait, generated video, and drivers"
    sheet = draw_sheet(title, explanation, cells, REENACTMENT_COLUMNS + 1)
    return encode_picture(sheet, REENACTMENT_SHEET_BYTES)


def _stacked(sheets: Sequence[bytes]) -> bytes:
    pictures = [Image.open(io.BytesIO(sheet)).convert("RGB") for sheet in sheets]
    size = (max(picture.width for picture in pictures), sum(picture.height for picture in pictures))
    whole, top = Image.new("RGB", size, "white"), 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height
    return encode_picture(whole, REENACTMENT_SHEET_BYTES)


def _row(name: str, pictures: Pictures, indices: list[int], first: NDArray[np.uint8] | None) -> list[Cell]:
    shown = {index: picture for index, picture in enumerate(pictures) if index in indices}
    empty = np.full((REENACTMENT_CELL_PX, REENACTMENT_CELL_PX, 3), 250, np.uint8)
    head = Cell(_cell(empty if first is None else first), (Line("portrait" if first is not None else ""),))
    captions = [name, *(f"frame {index}" for index in indices[1:])]
    cells = [
        Cell(_cell(shown[index]), (Line(caption),)) for index, caption in zip(indices, captions, strict=True)
    ]
    return [head, *cells]


def _cell(picture: NDArray[np.uint8]) -> Image.Image:
    size = (REENACTMENT_CELL_PX, REENACTMENT_CELL_PX)
    return Image.fromarray(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8))
