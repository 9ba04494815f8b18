"""A made video beside what drove it, as one picture: some instants as columns."""

import io
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.generation.files import GeneratedVideos, Pictures
from evaluation.generation.reenactment import Reenactment
from preprocessing.pictures.drawing import Cell, Line, draw_sheet, encode_picture

INSTANTS: Final = 6
CELL_SIDE_PX: Final = 104
MAXIMUM_SHEET_BYTES: Final = 110_000  # it travels through the event log


def draw_video_sheet(made: GeneratedVideos, reenactment: Reenactment) -> bytes:
    """JPEG: the portrait first, then the video and its drivers, a row each, at evenly spaced instants."""
    instants = [place * (reenactment.frames - 1) // (INSTANTS - 1) for place in range(INSTANTS)]
    cells = _row("made", made.model_frames(reenactment), instants, made.portrait(reenactment.name))
    for key in dict.fromkeys(reenactment.drivers.values()):
        controls = [control for control, driver in reenactment.drivers.items() if driver == key]
        told = "drives all" if reenactment.task == "self" else f"drives {', '.join(controls)}"
        cells += _row(told, made.clip_frames(key, reenactment.frames), instants, None)
    explanation = (f"{made.facts.checkpoint}; {reenactment.frames} frames at 25 a second",)
    sheet = draw_sheet(
        f"{reenactment.name}: portrait, what was made, and its drivers", explanation, cells, INSTANTS + 1
    )
    return encode_picture(sheet, MAXIMUM_SHEET_BYTES)


def choose_shown(made: GeneratedVideos) -> Reenactment:
    """The video to show first: one whose drivers differ, where there is one."""
    order = ("cross", "control", "self")
    return min(made.plan.reenactments, key=lambda reenactment: order.index(reenactment.task))


def joined(sheets: Sequence[bytes]) -> bytes:
    """Several sheets below one another, as one JPEG."""
    pictures = [Image.open(io.BytesIO(sheet)).convert("RGB") for sheet in sheets]
    size = (max(picture.width for picture in pictures), sum(picture.height for picture in pictures))
    whole, top = Image.new("RGB", size, "white"), 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height
    return encode_picture(whole, MAXIMUM_SHEET_BYTES)


def _row(name: str, pictures: Pictures, instants: list[int], first: NDArray[np.uint8] | None) -> list[Cell]:
    wanted = {instant: picture for instant, picture in enumerate(pictures) if instant in instants}
    empty = np.full((CELL_SIDE_PX, CELL_SIDE_PX, 3), 250, np.uint8)
    head = Cell(_cell(empty if first is None else first), (Line("portrait" if first is not None else ""),))
    return [
        head,
        *(Cell(_cell(wanted[at]), (Line(name if at == instants[0] else f"frame {at}"),)) for at in instants),
    ]


def _cell(picture: NDArray[np.uint8]) -> Image.Image:
    resized = cv2.resize(picture, (CELL_SIDE_PX, CELL_SIDE_PX), interpolation=cv2.INTER_AREA)
    return Image.fromarray(np.asarray(resized, np.uint8))
