"""One portrait and up to four drivers into a video: files in, files out.

Pictures are made and written a few at a time (`performance`); of the sound all samples are held, 3.8 MB a
minute. This module loads torch, MediaPipe and FFmpeg.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from evaluation.animation.drivers import FaceDriver, FaceFollower
from evaluation.animation.loading import load_talking_head
from evaluation.animation.media import read_sound
from evaluation.animation.panels import panels
from evaluation.animation.rendering import Performance, eye_strength, perform
from evaluation.animation.request import AnimateOrder, AnimateProgress, AnimateReport
from evaluation.animation.talking_head import TalkingHead
from preprocessing.media.encoding import write_video
from preprocessing.schema import FRAMES_PER_SECOND, SAMPLES_PER_FRAME
from storage.root import open_root

Progress = Callable[[AnimateProgress], None]
UNSEEN_FRAMES: Final = 2  # a video's sound often outlasts its pictures by a codec's frame


@dataclass(frozen=True)
class Cast:
    """What an order's files hold.

    portrait: aligned crop [224, 224, 3]. sound: [n] float32 mono 16 kHz, or None. drivers: by control.
    """

    portrait: NDArray[np.uint8]
    sound: NDArray[np.float32] | None
    drivers: dict[str, FaceDriver]
    frames: int


def silently(_: AnimateProgress) -> None:
    """No progress shown."""


def animate(order: AnimateOrder, progress: Progress = silently, root: UPath | None = None) -> AnimateReport:
    """Make the video that is ordered; it appears whole or not at all, and no input is touched.

    Args:
        order: what.
        progress: called as frames are looked at and made.
        root: of training runs; `open_root()` if None.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: an input is of no use, in one line that names it.
    """
    started = time.monotonic()
    for path in order.inputs():
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}")
    head = _load(order, root)
    eye_strength(head, order.strengths)  # what the checkpoint cannot do is told before any work
    found = find_cast(order, progress)
    performance = Performance(found.portrait, found.sound, found.drivers, found.frames)
    pictures = perform(head, performance, order.strengths, order.frames_at_once)
    sound = None if found.sound is None else fitted_sound(found.sound, found.frames)
    _write(order.output, _told(pictures, "making frames", found.frames, progress), sound)
    if order.grid is not None:
        beside = panels(order.output, found.portrait, found.drivers, found.frames)
        _write(order.grid, _told(beside, "writing the grid", found.frames, progress), sound)
    return AnimateReport(
        output=order.output,
        grid=order.grid,
        checkpoint=head.name,
        frames=found.frames,
        side_px=head.side_px,
        seconds=found.frames / FRAMES_PER_SECOND,
        wall_seconds=time.monotonic() - started,
        notes=notes_on(found),
    )


def find_cast(order: AnimateOrder, progress: Progress = silently) -> Cast:
    """Read the sound and follow every face, each file once and no farther than the video is long.

    Raises:
        ValueError: a file is of no use, or nothing tells how long the video is.
    """
    sound = None if order.lip is None else read_sound(order.lip)
    known = known_frames(order.seconds, sound)
    followed: dict[Path, FaceDriver] = {}
    with FaceFollower() as follower:
        portrait = next(follower.follow(order.appearance, maximum_frames=FRAMES_PER_SECOND).crops(1))
        for path in dict.fromkeys(order.face_drivers().values()):
            step = f"following the face of {path.name}"

            def looked(done: int, step: str = step) -> None:
                progress(AnimateProgress(step, done, known))

            followed[path] = follower.follow(path, known, looked)
    drivers = {name: followed[path] for name, path in order.face_drivers().items()}
    frames = known or max((driver.frames for driver in drivers.values() if not driver.is_still), default=0)
    if not frames:
        raise ValueError(
            "nothing tells how long the video is: give a sound for the lips, a video as driver, or seconds"
        )
    return Cast(portrait, sound, drivers, frames)


def known_frames(seconds: float | None, sound: NDArray[np.float32] | None) -> int | None:
    """Frames of the video before any driver was seen; None where the drivers decide."""
    if seconds is not None:
        return max(1, round(seconds * FRAMES_PER_SECOND))
    return None if sound is None else math.ceil(len(sound) / SAMPLES_PER_FRAME)


def fitted_sound(sound: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Exactly the sound of so many frames: cut, or silence behind it."""
    fitted = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
    count = min(len(sound), len(fitted))
    fitted[:count] = sound[:count]
    return fitted


def notes_on(found: Cast) -> tuple[str, ...]:
    """What the video holds still, and why."""
    notes: list[str] = []
    for driver in {driver.path: driver for driver in found.drivers.values()}.values():
        if lost := driver.frames_without_face:
            told = f"no face in {lost} of {len(driver.places)} frames, which hold the one before"
            notes.append(f"{driver.path.name}: {told}")
        if not driver.is_still and driver.frames < found.frames - UNSEEN_FRAMES:
            told = f"ends after {driver.frames} of {found.frames} frames, the rest holds its last"
            notes.append(f"{driver.path.name}: {told}")
    left_out = [] if found.sound is not None else ["lip"]
    left_out += [name for name in ("pose", "eye", "expression") if name not in found.drivers]
    if left_out:
        notes.append(f"no driver for {', '.join(left_out)}: held neutral")
    return tuple(notes)


def _load(order: AnimateOrder, root: UPath | None) -> TalkingHead:
    return load_talking_head(
        order.checkpoint,
        open_root() if root is None else root,
        order.device,
        official_habits=order.official_habits,
        neutral=order.neutral,
        official_networks=order.official_networks,
    )


def _write(path: Path, pictures: Iterator[NDArray[np.uint8]], sound: NDArray[np.float32] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, pictures, FRAMES_PER_SECOND, sound)


def _told(
    pictures: Iterator[NDArray[np.uint8]], step: str, total: int, progress: Progress
) -> Iterator[NDArray[np.uint8]]:
    for done, picture in enumerate(pictures, start=1):
        yield picture
        progress(AnimateProgress(step, done, total))
