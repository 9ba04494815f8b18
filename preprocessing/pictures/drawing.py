"""Sheets of captioned pictures for the pages of Dagster's UI, which show the leftmost 480 px at 1440 px.

Every picture of this package is deterministic, has its explanation in its head lines and is at most as
large as the caller's bound in bytes.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from preprocessing.media.jpeg import decode_jpeg

MAXIMUM_PICTURE_BYTES: Final = 100_000
FIRST_JPEG_QUALITY: Final = 88
LAST_JPEG_QUALITY: Final = 46  # below, lines over a face blur: a smaller picture is better
PAPER: Final = (250, 250, 248)
INK: Final = (30, 30, 34)
FAINT_INK: Final = (110, 110, 116)
GOOD: Final = (22, 128, 60)
BAD: Final = (196, 40, 32)
MARGIN_PX: Final = 8
LINE_HEIGHT_PX: Final = 14
TITLE_SIZE_PX: Final = 16
TEXT_SIZE_PX: Final = 11

Colour = tuple[int, int, int]
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Line:
    """A line of a caption."""

    text: str
    colour: Colour = INK


@dataclass(frozen=True)
class Cell:
    """A picture with its caption."""

    image: Image.Image = field(repr=False)
    caption: tuple[Line, ...]


def draw_sheet(title: str, explanation: Sequence[str], cells: Sequence[Cell], columns: int) -> Image.Image:
    """Cells of one size in a grid below a title.

    Args:
        title: of the sheet.
        explanation: lines on how to read it.
        cells: at least one; all images of one size.
        columns: of the grid.
    """
    width, height = cells[0].image.size
    caption_lines = max(len(cell.caption) for cell in cells)
    sheet_width = MARGIN_PX + columns * (width + MARGIN_PX)
    explanation = [part for line in explanation for part in _wrapped(line, sheet_width - 2 * MARGIN_PX)]
    step_x, step_y = width + MARGIN_PX, height + caption_lines * LINE_HEIGHT_PX + MARGIN_PX
    top = 2 * MARGIN_PX + TITLE_SIZE_PX + len(explanation) * LINE_HEIGHT_PX + MARGIN_PX
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (sheet_width, top + rows * step_y + MARGIN_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_head(draw, title, explanation, sheet.width)
    for number, cell in enumerate(cells):
        x, y = MARGIN_PX + number % columns * step_x, top + number // columns * step_y
        sheet.paste(cell.image, (x, y))
        for line_number, line in enumerate(cell.caption):
            place = (x, y + height + 1 + line_number * LINE_HEIGHT_PX)
            draw.text(place, shorten(line.text, width), fill=line.colour, font=font(TEXT_SIZE_PX))
    return sheet


def draw_message(title: str, message: str, maximum_bytes: int = MAXIMUM_PICTURE_BYTES) -> bytes:
    """A small picture with a message in place of a picture."""
    image = Image.new("RGB", (480, 3 * MARGIN_PX + TITLE_SIZE_PX + LINE_HEIGHT_PX), PAPER)
    _draw_head(ImageDraw.Draw(image), title, (message,), image.width)
    return encode_picture(image, maximum_bytes)


def encode_picture(image: Image.Image, maximum_bytes: int = MAXIMUM_PICTURE_BYTES) -> bytes:
    """Encode a JPEG file of at most `maximum_bytes`, by lower quality, then by smaller size.

    Raises:
        ValueError: even 16 pixels of width do not fit.
    """
    quality = FIRST_JPEG_QUALITY
    while image.width >= 16 and image.height >= 1:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= maximum_bytes:
            return buffer.getvalue()
        if quality > LAST_JPEG_QUALITY:
            quality -= 7
        else:
            image = image.resize((image.width * 9 // 10, image.height * 9 // 10), Image.Resampling.LANCZOS)
    raise ValueError(f"no picture fits into {maximum_bytes} bytes")


def spread(items: Sequence[_Item], group_of: Callable[[_Item], str], count: int) -> list[_Item]:
    """At most `count` items from as many groups as possible, evenly chosen, ordered by group.

    A second item of a group is taken only once every chosen group has one.
    """
    groups: dict[str, list[_Item]] = {}
    for item in items:
        groups.setdefault(group_of(item), []).append(item)
    names = evenly(sorted(groups), count)
    share = dict.fromkeys(names, 0)
    remaining = min(count, sum(len(groups[name]) for name in names))
    while remaining:
        for name in names:
            if remaining and share[name] < len(groups[name]):
                share[name] += 1
                remaining -= 1
    return [item for name in names for item in evenly(groups[name], share[name])]


def evenly(items: Sequence[_Item], count: int) -> list[_Item]:
    """At most `count` items, evenly spaced, always with the first."""
    count = min(count, len(items))
    return [items[number * len(items) // count] for number in range(count)]


def open_jpeg(jpeg: bytes) -> Image.Image:
    """RGB image of a JPEG file."""
    return Image.fromarray(decode_jpeg(jpeg))


@dataclass(frozen=True)
class View:
    """An enlarged part of a crop to draw on; lines are smooth once it is scaled down."""

    image: Image.Image = field(repr=False)
    draw: ImageDraw.ImageDraw = field(repr=False)
    corner_px: tuple[int, int]  # the part's upper left corner in the crop
    scale: float  # view px per crop px

    def place(self, points_px: NDArray[np.floating[Any]]) -> list[tuple[float, float]]:
        """Crop pixels [N, 2] -> view pixels to draw at."""
        moved = (np.asarray(points_px, np.float64)[:, :2] + 0.5 - self.corner_px) * self.scale
        return [(float(x), float(y)) for x, y in moved]

    def arrow(
        self, start_px: NDArray[np.floating[Any]], end_px: NDArray[np.floating[Any]], colour: Colour
    ) -> None:
        """Draw an arrow between two crop points [2], with a dark rim for contrast on any skin."""
        start, end = self.place(np.stack([start_px, end_px]))
        along = np.subtract(end, start)
        length = float(np.linalg.norm(along))
        width = self.image.width / 100
        for rim, ink in ((width * 0.6, (0, 0, 0)), (0.0, colour)):
            self.draw.line([start, end], fill=ink, width=round(width + rim))
            if length > 4 * width:
                forward = along / length
                side = np.array([-forward[1], forward[0]]) * (1.6 * width + rim)
                base = end - forward * (2.5 * width + rim / 2)
                corners = [end + forward * (width + rim), base + side, base - side]
                self.draw.polygon([(float(x), float(y)) for x, y in corners], fill=ink)
            else:  # towards the viewer
                radius = 1.2 * width + rim / 2
                self.draw.ellipse([end[0] - radius, end[1] - radius, end[0] + radius, end[1] + radius], ink)

    def finish(self, width: int, height: int) -> Image.Image:
        """The view at the size of a cell."""
        return self.image.resize((width, height), Image.Resampling.LANCZOS)


def open_view(image: Image.Image, box_px: tuple[int, int, int, int], width: int) -> View:
    """A view of `box_px` (left, top, right, bottom; may extend beyond the edge), `width` px wide."""
    left, top, right, bottom = box_px
    scale = width / (right - left)
    height = round((bottom - top) * scale)
    cut = image.crop(box_px).resize((width, height), Image.Resampling.BILINEAR)
    return View(cut, ImageDraw.Draw(cut), (left, top), scale)


def degrees(angle_rad: float) -> str:
    """An angle for a caption: signed whole degrees."""
    return f"{round(math.degrees(angle_rad)):+d}°"


@cache
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans from matplotlib: Latin, Greek, Cyrillic; other letters become boxes."""
    import matplotlib as mpl

    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(path, size_px, layout_engine=ImageFont.Layout.BASIC)


def shorten(text: str, width_px: int) -> str:
    """Shorten text to fit by dropping its middle, since both ends of a key tell clips apart."""
    text = " ".join(text.split())
    kept = text
    while len(text) > 2 and font(TEXT_SIZE_PX).getlength(kept) > width_px:
        middle = len(text) // 2
        text = text[:middle] + text[middle + 1 :]
        middle = len(text) // 2
        kept = f"{text[:middle]}…{text[middle:]}"
    return kept


def _wrapped(text: str, width_px: int) -> list[str]:
    """A text in lines that fit, broken between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(TEXT_SIZE_PX).getlength(longer) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _draw_head(draw: ImageDraw.ImageDraw, title: str, explanation: Sequence[str], width: int) -> None:
    draw.text((MARGIN_PX, MARGIN_PX), title, fill=INK, font=font(TITLE_SIZE_PX))
    for number, line in enumerate(explanation):
        y = 2 * MARGIN_PX + TITLE_SIZE_PX + number * LINE_HEIGHT_PX
        text = shorten(line, width - 2 * MARGIN_PX)
        draw.text((MARGIN_PX, y), text, fill=FAINT_INK, font=font(TEXT_SIZE_PX))
