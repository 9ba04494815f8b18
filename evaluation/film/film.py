"""The training film: the scenes of all checkpoints in order, and the control matrix that grows beside them.

`film/film.mp4`, and `film/film.webp`, which pages show without a player: narrower, with the matrix below.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from evaluation.controls import CONTROLS
from evaluation.film.scenes import FILM_FOLDER, PANEL_PX, Scene, read_scenes, scene_path
from evaluation.readings.measures import ALL_MEASURES
from preprocessing.media.encoding import write_video
from preprocessing.pictures.drawing import font
from preprocessing.schema import FRAMES_PER_SECOND
from storage.atomic import write_atomically

FILM_NAME: Final = "film.mp4"
PICTURE_NAME: Final = "film.webp"
TITLES: Final = ("portrait", "driver", "driven by its own clip", "head by the driver")
HEAD_PX: Final = 40
NAME_PX: Final = 70  # of a row of the matrix
CELL_PX: Final = (38, 24)
MATRIX_PX: Final = NAME_PX + 9 * CELL_PX[0] + 12
HEADING_PX: Final = 10  # a line; a column is too narrow for two words beside each other
CURVE_PX: Final = 44
INK: Final = (30, 30, 30)
FAINT: Final = (120, 120, 120)
FOLLOWS: Final = (34, 139, 76)  # full colour of 1 where a measure belongs to the driver
LEAKS: Final = (196, 58, 49)  # and where it does not
PICTURE_EVERY: Final = 2  # frames of the animated picture
SCENES_IN_PICTURE: Final = 12
PICTURE_QUALITY: Final = 60
NARROW_PX: Final = 476


def write_film(work: Path) -> None:
    """Write the film of the scenes in a stage's work folder, and its animated picture.

    Raises:
        ValueError: there is no scene.
    """
    scenes = read_scenes(work)
    if not scenes:
        raise ValueError(f"no scenes in {work / FILM_FOLDER}")
    write_video(work / FILM_FOLDER / FILM_NAME, _frames(work, scenes, scenes), FRAMES_PER_SECOND)
    shown = [scenes[place] for place in sorted({*_spread(len(scenes), SCENES_IN_PICTURE)})]
    pictures = [narrowed(frame) for frame in islice(_frames(work, shown, scenes), 0, None, PICTURE_EVERY)]
    with write_atomically(work / FILM_FOLDER / PICTURE_NAME) as partial:
        pictures[0].save(
            partial,
            "WEBP",
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 * PICTURE_EVERY / FRAMES_PER_SECOND),
            loop=0,
            quality=PICTURE_QUALITY,
        )


def narrowed(frame: NDArray[np.uint8]) -> Image.Image:
    """A frame of the film as wide as a table of the UI: its pictures above, the matrix below."""
    panels = Image.fromarray(frame[:, : len(TITLES) * PANEL_PX])
    matrix = Image.fromarray(frame[:, len(TITLES) * PANEL_PX :])
    height = round(panels.height * NARROW_PX / panels.width)
    page = Image.new("RGB", (NARROW_PX, height + matrix.height), "white")
    page.paste(panels.resize((NARROW_PX, height), Image.Resampling.LANCZOS))
    page.paste(matrix, (0, height))
    return page


def _spread(count: int, wanted: int) -> list[int]:
    return [round(place) for place in np.linspace(0, count - 1, min(count, wanted)).tolist()]


def _frames(work: Path, shown: Sequence[Scene], scenes: Sequence[Scene]) -> Iterator[NDArray[np.uint8]]:
    from evaluation.animation.media import read_pictures  # loads FFmpeg's libraries

    for scene in shown:
        past = [each for each in scenes if each.step <= scene.step]
        page = draw_page(scene, past)
        for frame in read_pictures(scene_path(work, scene.step)):
            picture = page.copy()
            picture[HEAD_PX : HEAD_PX + PANEL_PX, : frame.image.shape[1]] = frame.image
            yield picture


def draw_page(scene: Scene, past: Sequence[Scene]) -> NDArray[np.uint8]:
    """A frame of the film without its pictures: titles, the matrix, and the score up to this step.

    Args:
        scene: What is shown.
        past: The scenes up to it, itself included.
    """
    width, height = len(TITLES) * PANEL_PX + MATRIX_PX, HEAD_PX + PANEL_PX + 20
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    draw.text((6, 3), f"step {scene.step:,} of {scene.steps:,}", fill=INK, font=font(15))
    for place, title in enumerate(TITLES):
        draw.text((place * PANEL_PX + 6, HEAD_PX - 17), title, fill=FAINT, font=font(13))
    draw.text((6, HEAD_PX + PANEL_PX + 2), scene.driver, fill=FAINT, font=font(13))
    left = len(TITLES) * PANEL_PX + 6
    _draw_matrix(draw, (left, 3), scene)
    _draw_curve(draw, (left, height - CURVE_PX - 4), past)
    return np.asarray(page)


def _draw_matrix(draw: ImageDraw.ImageDraw, place: tuple[int, int], scene: Scene) -> None:
    """Rows are drivers, columns measures; the colour grows with the correlation."""
    left, top = place
    if not scene.cells:
        draw.text((left, top), "no control matrix: the split has a single clip", fill=FAINT, font=font(11))
        return
    draw.text((left, top), "control matrix: green follows its driver, red leaks", fill=INK, font=font(11))
    values = {(driver, measure): value for driver, measure, value in scene.cells}
    measures = [name for name in ALL_MEASURES if any(key[1] == name for key in values)]
    top += 18
    for column, measure in enumerate(measures):
        x = left + NAME_PX + column * CELL_PX[0]
        for line, word in enumerate(reversed(_short(measure).split(" "))):
            draw.text((x + 1, top + HEADING_PX * (1 - line)), word, fill=FAINT, font=font(9))
    for row, driver in enumerate(CONTROLS):
        y = top + 2 * HEADING_PX + 4 + row * CELL_PX[1]
        draw.text((left, y + 5), driver, fill=INK, font=font(11))
        for column, measure in enumerate(measures):
            x = left + NAME_PX + column * CELL_PX[0]
            box = (x, y, x + CELL_PX[0] - 2, y + CELL_PX[1] - 2)
            value = values.get((driver, measure))
            own = ALL_MEASURES[measure] == driver
            draw.rectangle(box, fill=_colour(value, own=own), outline=INK if own else None)
            if value is not None:
                draw.text((x + 5, y + 5), f"{value:.2f}".replace("0.", "."), fill=INK, font=font(10))


def _draw_curve(draw: ImageDraw.ImageDraw, place: tuple[int, int], past: Sequence[Scene]) -> None:
    """The matrix's score by step so far, from -1 to 1."""
    left, top = place
    scored = [(scene.step, scene.score) for scene in past if scene.score is not None]
    if not scored:
        return
    width = MATRIX_PX - NAME_PX - 18
    left += NAME_PX
    draw.line((left, top + CURVE_PX / 2, left + width, top + CURVE_PX / 2), fill=(210, 210, 210))
    steps = past[-1].steps
    points = [
        (left + width * step / steps, top + CURVE_PX * (1 - max(-1.0, min(1.0, score))) / 2)
        for step, score in scored
    ]
    if len(points) > 1:
        draw.line(points, fill=FOLLOWS, width=2)
    x, y = points[-1]
    draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=FOLLOWS)
    draw.text((left - NAME_PX, top + 8), f"score {scored[-1][1]:.2f}", fill=INK, font=font(11))
    draw.text((left - NAME_PX, top + 24), "follow - leak", fill=FAINT, font=font(9))


def _colour(value: float | None, *, own: bool) -> tuple[int, int, int]:
    if value is None:
        return (245, 245, 245)
    share = max(0.0, value) if own else abs(value)
    full = FOLLOWS if own else LEAKS
    red, green, blue = (round(255 + (each - 255) * min(1.0, share)) for each in full)
    return red, green, blue


@cache
def _short(measure: str) -> str:
    return measure.replace("mouth_opening", "mouth").replace("gaze_", "gaze ").replace("brow_raise", "brows")
