"""The report's videos: portrait, generated video and drivers side by side, as data URIs."""

import base64
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from storage.atomic import temporary_folder
from storage.settings import Settings

GAP_PX: Final = 4
GAP_GREY: Final = 127  # neutral on light and dark pages
POSTER_QUALITY: Final = 80
GENERATED: Final = "generated"
"""Title of the panel with the generated video."""


class VideoSettings(Settings):
    """Encoding of the page's videos."""

    panel_side_px: int = Field(default=160, ge=2, multiple_of=2, description="Side of one panel; even")
    constant_rate_factor: int = Field(
        default=24, ge=0, le=51, description="x264 quality: 0 lossless, 51 worst"
    )
    max_seconds: float = Field(default=8.0, gt=0, description="Videos are cut to this length")
    sound_bits_per_second: int = Field(default=64_000, ge=1)


@dataclass(frozen=True)
class VideoPanel:
    """One panel of a video: its title, a detail line, and its file (mp4, or png for a still image)."""

    title: str
    detail: str
    path: Path


@dataclass(frozen=True)
class ReportVideo:
    """A video of the page.

    Attributes:
        mp4, poster: Data URIs.
        seconds: Length shown; at most `full_seconds`.
        full_seconds: Length of the generated video.
    """

    name: str
    task: str
    panels: tuple[VideoPanel, ...]
    mp4: str
    poster: str
    width_px: int
    height_px: int
    seconds: float
    full_seconds: float

    @property
    def bytes_in_page(self) -> int:
        """Size of its data URIs."""
        return len(self.mp4) + len(self.poster)


def plan_panels(folder: Path, reenactment: Reenactment) -> tuple[VideoPanel, ...]:
    """List the panels: portrait or unchanged base video, generated video, then each driving clip once.

    Args:
        folder: files of the asset `generated_videos`.
        reenactment: the video.
    """
    base = reenactment.base
    if base is not None:
        changed = reenactment.changed()
        first = VideoPanel(
            "unchanged", f"{base}: all drivers from the portrait's clip", video_path(folder, base)
        )
        detail = f"only {changed} changed"
    else:
        first = VideoPanel("portrait", reenactment.portrait, portrait_path(folder, reenactment.name))
        detail = reenactment.name
    generated = VideoPanel(GENERATED, detail, video_path(folder, reenactment.name))
    controls: dict[str, list[str]] = {}
    for control in CONTROLS:
        controls.setdefault(reenactment.drivers[control], []).append(control)
    drivers = [
        VideoPanel(_driver_title(names), key, clip_path(folder, key)) for key, names in controls.items()
    ]
    return (first, generated, *drivers)


def _driver_title(controls: Sequence[str]) -> str:
    return "ground truth and driver" if len(controls) == len(CONTROLS) else f"drives {', '.join(controls)}"


def encode_video(folder: Path, reenactment: Reenactment, settings: VideoSettings) -> ReportVideo:
    """Encode a reenactment's panels side by side, with the generated video's audio.

    Raises:
        FileNotFoundError: a file of the reenactment is missing.
    """
    panels = plan_panels(folder, reenactment)
    return encode_panels(reenactment.name, reenactment.task, panels, reenactment.frames, settings)


def encode_panels(
    name: str, task: str, panels: Sequence[VideoPanel], frames: int, settings: VideoSettings
) -> ReportVideo:
    """Encode panels side by side, with the audio of the one that is titled `GENERATED`.

    Args:
        name: Of the video.
        task: Of the video.
        panels: From left to right; all are scaled to one square size.
        frames: Length of the generated video; the page shows less if a panel is shorter.
        settings: Of the encoder.

    Raises:
        FileNotFoundError: a file is missing.
    """
    encode = EncodeSettings(
        constant_rate_factor=settings.constant_rate_factor,
        preset="slow",  # smaller files; the videos are short
        sound_bits_per_second=settings.sound_bits_per_second,
    )
    limit = min(frames, int(settings.max_seconds * FRAMES_PER_SECOND))
    (generated,) = [panel for panel in panels if panel.title == GENERATED]
    sound = _read_audio(generated.path)
    with temporary_folder("panels") as scratch:
        path = scratch / "panels.mp4"
        pictures = list(itertools.islice(_side_by_side(panels, settings.panel_side_px), limit))
        cut = None if sound is None else sound[: len(pictures) * SAMPLES_PER_FRAME]
        write_video(path, pictures, FRAMES_PER_SECOND, cut, settings=encode)
        mp4 = data_uri("video/mp4", path.read_bytes())
    height, width = pictures[0].shape[:2]
    return ReportVideo(
        name=name,
        task=task,
        panels=tuple(panels),
        mp4=mp4,
        poster=_poster(pictures[len(pictures) // 2]),
        width_px=width,
        height_px=height,
        seconds=len(pictures) / FRAMES_PER_SECOND,
        full_seconds=frames / FRAMES_PER_SECOND,
    )


def alternate_tasks(reenactments: Sequence[Reenactment]) -> list[Reenactment]:
    """Order by alternating tasks, so that a shortened list has videos of each."""
    tasks = dict.fromkeys(reenactment.task for reenactment in reenactments)
    by_task = [[item for item in reenactments if item.task == task] for task in tasks]
    return [item for group in itertools.zip_longest(*by_task) for item in group if item is not None]


def _read_audio(path: Path) -> NDArray[np.float32] | None:
    """A video's audio, [n] mono at 16 kHz; None if it has no audio track or it is silent."""
    try:
        return read_sound(path)
    except FileNotFoundError:
        raise
    except ValueError:
        return None


def _side_by_side(panels: Sequence[VideoPanel], side_px: int) -> Iterator[NDArray[np.uint8]]:
    """RGB frames [side, width, 3] until the shortest panel ends."""
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
    interpolation = cv2.INTER_AREA if image.shape[0] > side_px else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (side_px, side_px), interpolation=interpolation), np.uint8)


def _poster(picture: NDArray[np.uint8]) -> str:
    return data_uri("image/jpeg", encode_jpeg(picture, POSTER_QUALITY))


def data_uri(kind: str, data: bytes) -> str:
    """A data URI of a MIME type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
