"""Animate a portrait by up to four drivers: files in, a video out.

Pictures are rendered and written a few at a time; the sound is in memory, 3.8 MB a minute. This module
imports torch, MediaPipe and FFmpeg.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from upath import UPath

from evaluation.animation.drivers import FaceDriver, FaceFollower
from evaluation.animation.limited_reading import LimitedReader
from evaluation.animation.loading import load_talking_head
from evaluation.animation.media import read_pictures, read_sound
from evaluation.animation.rendering import AnimationInputs, Face, eye_strength, render_frames
from evaluation.animation.request import AnimateProgress, AnimateReport, AnimateRequest
from evaluation.animation.talking_head import TalkingHead
from preprocessing.faces.alignment import CROP_SIDE_PX
from preprocessing.media.encoding import write_video
from preprocessing.schema import FRAMES_PER_SECOND, SAMPLES_PER_FRAME
from storage.root import open_root

Progress = Callable[[AnimateProgress], None]
TRAILING_FRAMES: Final = 2  # the sound of a video often outlasts its pictures by one frame of the codec
PANEL_ORDER: Final = ("pose", "eye", "expression")
CAPTION_PX: Final = 24
PAPER: Final = 250
INK: Final = (30, 30, 34)


def no_progress(_: AnimateProgress) -> None:
    """Show no progress."""


def animate(
    request: AnimateRequest,
    progress: Progress = no_progress,
    root: UPath | None = None,
    limited: LimitedReader | None = None,
) -> AnimateReport:
    """Write the requested video; it appears complete or not at all, and no input is changed.

    Args:
        request: Portrait, drivers and output.
        progress: Called as frames are read and rendered.
        root: Of training runs; default `open_root()`.
        limited: Reads the inputs, which may be anybody's; None: this process does.

    Raises:
        FileNotFoundError: an input does not exist.
        ValueError: an input cannot be used; one line that names it.
    """
    started = time.monotonic()
    _require_files(request)
    head = _load(request, root)
    return replace(animate_with(head, request, progress, limited), wall_seconds=time.monotonic() - started)


def animate_with(
    head: TalkingHead,
    request: AnimateRequest,
    progress: Progress = no_progress,
    limited: LimitedReader | None = None,
) -> AnimateReport:
    """`animate` with a talking head that is loaded; the request's checkpoint is not read."""
    started = time.monotonic()
    _require_files(request)
    eye_strength(head, request.strengths)  # fail before any work
    inputs = read_inputs(request, progress, limited)
    pictures = render_frames(head, inputs, request.strengths, request.frames_at_once)
    sound = None if inputs.sound is None else fit_sound(inputs.sound, inputs.frames)
    _write(request.output, _with_progress(pictures, "rendering frames", inputs.frames, progress), sound)
    if request.grid is not None:
        grid = side_by_side(request.output, inputs.portrait, inputs.faces, inputs.frames)
        _write(request.grid, _with_progress(grid, "writing the grid", inputs.frames, progress), sound)
    return AnimateReport(
        output=request.output,
        grid=request.grid,
        checkpoint=head.name,
        frames=inputs.frames,
        side_px=head.side_px,
        seconds=inputs.frames / FRAMES_PER_SECOND,
        wall_seconds=time.monotonic() - started,
        notes=collect_notes(inputs),
    )


def _require_files(request: AnimateRequest) -> None:
    for path in request.inputs():
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}")


def read_inputs(
    request: AnimateRequest, progress: Progress = no_progress, limited: LimitedReader | None = None
) -> AnimationInputs[FaceDriver]:
    """Read the sound and follow every face; each file is read once, up to the length of the video.

    `limited` as in `animate`.

    Raises:
        ValueError: a file cannot be used, or the length of the video is not determined.
    """
    hear = read_sound if limited is None else limited.read_sound
    sound = None if request.lip is None else hear(request.lip)
    known = known_frames(request.seconds, sound)
    followed: dict[Path, FaceDriver] = {}
    with FaceFollower() if limited is None else nullcontext(limited) as follower:
        portrait = follower.crop(request.appearance)
        for path in dict.fromkeys(request.face_drivers().values()):
            step = f"following the face of {path.name}"

            def followed_frames(done: int, step: str = step) -> None:
                progress(AnimateProgress(step, done, known))

            followed[path] = follower.follow(path, known, followed_frames)
    drivers = {name: followed[path] for name, path in request.face_drivers().items()}
    frames = known or max((driver.frames for driver in drivers.values() if not driver.is_still), default=0)
    if not frames:
        raise ValueError(
            "the length of the video is not determined: give audio for lip, a video as driver, or seconds"
        )
    return AnimationInputs(portrait, sound, drivers, frames)


def known_frames(seconds: float | None, sound: NDArray[np.float32] | None) -> int | None:
    """Length of the video before any driver is read; None if the drivers decide."""
    if seconds is not None:
        return max(1, round(seconds * FRAMES_PER_SECOND))
    return None if sound is None else math.ceil(len(sound) / SAMPLES_PER_FRAME)


def fit_sound(sound: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """The sound cut or padded with silence to a number of frames."""
    fitted = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
    count = min(len(sound), len(fitted))
    fitted[:count] = sound[:count]
    return fitted


def collect_notes(inputs: AnimationInputs[FaceDriver]) -> tuple[str, ...]:
    """One sentence for each part of the video in which a driver has no frames."""
    notes: list[str] = []
    for driver in {driver.path: driver for driver in inputs.faces.values()}.values():
        name = driver.path.name
        if lost := driver.frames_without_face:
            notes.append(
                f"{name}: no face in {lost} of {len(driver.places)} frames, the previous one is held"
            )
        if not driver.is_still and driver.frames < inputs.frames - TRAILING_FRAMES:
            notes.append(
                f"{name}: ends after {driver.frames} of {inputs.frames} frames, its last one is held"
            )
    undriven = [] if inputs.sound is not None else ["lip"]
    undriven += [name for name in PANEL_ORDER if name not in inputs.faces]
    if undriven:
        notes.append(f"no driver for {', '.join(undriven)}: neutral")
    return tuple(notes)


def side_by_side(
    video: Path, portrait: NDArray[np.uint8], faces: Mapping[str, Face], frames: int
) -> Iterator[NDArray[np.uint8]]:
    """Frames [248, 224 n, 3] of n captioned pictures: portrait, result, and the drivers.

    Args:
        video: The written result; enlarged if the networks' pictures are smaller than 224.
        portrait: Aligned crop [224, 224, 3].
        faces: By control; those without a driver have no panel.
        frames: Of the video.
    """
    names = [name for name in PANEL_ORDER if name in faces]
    caption = np.concatenate([_caption(name) for name in ("appearance", "generated", *names)], axis=1)
    crops = [faces[name].crops(frames) for name in names]
    generated = (_enlarged(frame.image) for frame in read_pictures(video))
    for pictures in zip(repeat(portrait, frames), generated, *crops, strict=True):
        yield np.concatenate([caption, np.concatenate(pictures, axis=1)])


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (CROP_SIDE_PX, CROP_SIDE_PX)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _caption(text: str) -> NDArray[np.uint8]:
    strip = np.full((CAPTION_PX, CROP_SIDE_PX, 3), PAPER, np.uint8)
    return np.asarray(
        cv2.putText(strip, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA), np.uint8
    )


def _load(request: AnimateRequest, root: UPath | None) -> TalkingHead:
    return load_talking_head(
        request.checkpoint,
        open_root() if root is None else root,
        request.device,
        official_postprocessing=request.official_postprocessing,
        neutral=request.neutral,
        official_networks=request.official_networks,
    )


def _write(path: Path, pictures: Iterator[NDArray[np.uint8]], sound: NDArray[np.float32] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, pictures, FRAMES_PER_SECOND, sound)


def _with_progress(
    pictures: Iterator[NDArray[np.uint8]], step: str, total: int, progress: Progress
) -> Iterator[NDArray[np.uint8]]:
    for done, picture in enumerate(pictures, start=1):
        yield picture
        progress(AnimateProgress(step, done, total))
