"""The report's videos: portrait, what was generated and what drove it in one picture, so that all keep step.

Each is written small enough to stand inside the page as a data URI.
"""

import base64
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evaluation.animation.media import read_pictures, read_sound, read_still
from evaluation.controls import CONTROLS
from evaluation.generation.files import clip_path, portrait_path, video_path
from evaluation.generation.reenactment import Reenactment
from preprocessing.media.encoding import EncodeSettings, write_video
from preprocessing.media.jpeg import encode_jpeg
from preprocessing.schema import FRAMES_PER_SECOND, SAMPLES_PER_FRAME
from storage.settings import Settings

GAP_PX: Final = 4
GAP_GREY: Final = 127  # between light and dark pages
POSTER_QUALITY: Final = 80


class VideoSettings(Settings):
    """How the page's videos are written."""

    panel_side_px: int = Field(default=160, ge=2, multiple_of=2, description="Side of one face; even")
    constant_rate_factor: int = Field(default=24, ge=0, le=51)
    longest_seconds: float = Field(default=8.0, gt=0)
    sound_bits_per_second: int = Field(default=64_000, ge=1)


@dataclass(frozen=True)
class Panel:
    """One face of a video: what stands above it, and the file (mp4, or png for a still)."""

    title: str
    detail: str
    path: Path


@dataclass(frozen=True)
class ReportVideo:
    """A video inside the page.

    mp4, poster: data URIs. seconds: shown; whole_seconds: of the generated video.
    """

    name: str
    task: str
    panels: tuple[Panel, ...]
    mp4: str
    poster: str
    width_px: int
    height_px: int
    seconds: float
    whole_seconds: float

    @property
    def bytes_in_page(self) -> int:
        """What it adds to the page."""
        return len(self.mp4) + len(self.poster)


def plan_panels(folder: Path, reenactment: Reenactment) -> tuple[Panel, ...]:
    """Portrait, the base where there is one, the generated video, then each driving clip once.

    Args:
        folder: of the asset `generated_videos`.
        reenactment: which video.
    """
    base = reenactment.base
    if base is not None:
        changed = reenactment.changed()
        first = Panel("unchanged", f"{base}: every driver the portrait's own", video_path(folder, base))
        told = f"{changed} alone changed"
    else:
        first = Panel("portrait", reenactment.portrait, portrait_path(folder, reenactment.name))
        told = reenactment.name
    generated = Panel("generated", told, video_path(folder, reenactment.name))
    controls: dict[str, list[str]] = {}
    for control in CONTROLS:
        controls.setdefault(reenactment.drivers[control], []).append(control)
    drivers = [Panel(_driver_title(names), key, clip_path(folder, key)) for key, names in controls.items()]
    return (first, generated, *drivers)


def _driver_title(controls: Sequence[str]) -> str:
    return "truth, and all drivers" if len(controls) == len(CONTROLS) else f"drives {', '.join(controls)}"


def make_video(folder: Path, reenactment: Reenactment, settings: VideoSettings) -> ReportVideo:
    """Put a reenactment's panels side by side and encode them with the generated video's sound.

    Raises:
        FileNotFoundError: a file of the reenactment is not there.
    """
    panels = plan_panels(folder, reenactment)
    frames = min(reenactment.frames, int(settings.longest_seconds * FRAMES_PER_SECOND))
    encode = EncodeSettings(
        constant_rate_factor=settings.constant_rate_factor,
        preset="slow",  # smaller, and these videos are short
        sound_bits_per_second=settings.sound_bits_per_second,
    )
    sound = read_sound_if_any(video_path(folder, reenactment.name))
    with TemporaryDirectory() as scratch:
        made = Path(scratch) / "beside.mp4"
        pictures = list(itertools.islice(_beside(panels, settings.panel_side_px), frames))
        cut = None if sound is None else sound[: len(pictures) * SAMPLES_PER_FRAME]
        write_video(made, pictures, FRAMES_PER_SECOND, cut, settings=encode)
        mp4 = _data_uri("video/mp4", made.read_bytes())
    height, width = pictures[0].shape[:2]
    return ReportVideo(
        name=reenactment.name,
        task=reenactment.task,
        panels=panels,
        mp4=mp4,
        poster=_poster(pictures[len(pictures) // 2]),
        width_px=width,
        height_px=height,
        seconds=len(pictures) / FRAMES_PER_SECOND,
        whole_seconds=reenactment.frames / FRAMES_PER_SECOND,
    )


def take_turns(reenactments: Sequence[Reenactment]) -> list[Reenactment]:
    """One of each task in turn, so that whatever bound cuts the list leaves some of each."""
    kinds = dict.fromkeys(reenactment.task for reenactment in reenactments)
    hands = [[one for one in reenactments if one.task == kind] for kind in kinds]
    turns = itertools.zip_longest(*hands)
    return [one for turn in turns for one in turn if one is not None]


def read_sound_if_any(path: Path) -> NDArray[np.float32] | None:
    """A video's sound, [n] mono at 16 kHz; None where there is none, or silence."""
    try:
        return read_sound(path)
    except FileNotFoundError:
        raise
    except ValueError:
        return None


def _beside(panels: Sequence[Panel], side_px: int) -> Iterator[NDArray[np.uint8]]:
    """Frames [side, width, 3] until the shortest panel ends."""
    gap = np.full((side_px, GAP_PX, 3), GAP_GREY, np.uint8)
    for faces in zip(*(_faces(panel.path, side_px) for panel in panels), strict=False):
        parts = [part for face in faces for part in (face, gap)][:-1]
        yield np.concatenate(parts, axis=1)


def _faces(path: Path, side_px: int) -> Iterator[NDArray[np.uint8]]:
    if path.suffix == ".png":
        still = read_still(path)
        assert still is not None, path
        yield from itertools.repeat(_resized(still, side_px))
    for frame in read_pictures(path):
        yield _resized(frame.image, side_px)


def _resized(image: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    shrinks = image.shape[0] > side_px
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (side_px, side_px), interpolation=how), np.uint8)


def _poster(picture: NDArray[np.uint8]) -> str:
    return _data_uri("image/jpeg", encode_jpeg(picture, POSTER_QUALITY))


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
