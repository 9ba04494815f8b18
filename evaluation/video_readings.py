"""Readings of many videos, in several processes: each video once, and by itself.

Only the folder of `generated_videos` is read. MediaPipe is loaded in the processes that read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.face_readings import FaceReader, FaceReadings
from evaluation.generated_files import GeneratedVideos, squeezed, video_frames
from evaluation.reenactment import Reenactment
from preprocessing.labellers.blink_lids import OpennessLevels
from preprocessing.process_pool import Crashed, map_in_processes


@dataclass(frozen=True)
class _Video:
    """What to read: frames of a file, as they are or through the networks' side."""

    name: str
    path: Path
    frames: int
    side_px: int | None
    levels: OpennessLevels | None


@dataclass(frozen=True)
class VideoReadings:
    """Readings of all that a table of control holds.

    Attributes:
        clips: By key, at 224 px: what drives, and what is true.
        shown: By key, the same clips through the networks' side: what a labeller can still see of them.
        made: By reenactment, the model's videos.
        portraits: By reenactment, one frame through the networks' side.
    """

    clips: Mapping[str, FaceReadings]
    shown: Mapping[str, FaceReadings]
    made: Mapping[str, FaceReadings]
    portraits: Mapping[str, FaceReadings]

    def still(self, reenactment: Reenactment) -> FaceReadings:
        """Of the portrait, held for the whole video: read once, so that no jitter looks like motion."""
        portrait = self.portraits[reenactment.name]
        return _at(portrait, np.zeros(reenactment.frames, np.int64))


def read_everything(made: GeneratedVideos, workers: int) -> VideoReadings:
    """Read clips first: the levels of a person's eyes come from that person's clip.

    Args:
        made: The videos.
        workers: Processes; 0 reads in this one.

    Raises:
        ValueError: a video is not what its list says.
        RuntimeError: a process died.
    """
    frames = {key: facts.frames for key, facts in made.facts.clips.items()}
    side_px = made.facts.side_px
    clips = _read_all(
        [_Video(key, made.clip(key), count, None, None) for key, count in frames.items()], workers
    )
    rest: list[_Video] = []
    for key, count in frames.items():
        rest.append(_Video(f"shown {key}", made.clip(key), count, side_px, clips[key].levels))
    for one in made.protocol.reenactments:
        # The person of the portrait: whether the eyes stand open is told by how far they do in the truth.
        levels = clips[one.portrait].levels
        rest.append(_Video(f"made {one.name}", made.video(one.name), one.frames, None, levels))
        first = one.portrait_frame + 1
        rest.append(_Video(f"still {one.name}", made.clip(one.portrait), first, side_px, levels))
    found = _read_all(rest, workers)
    names = [one.name for one in made.protocol.reenactments]
    return VideoReadings(
        clips=clips,
        shown={key: found[f"shown {key}"] for key in frames},
        made={name: found[f"made {name}"] for name in names},
        portraits={name: _at(found[f"still {name}"], np.array([-1])) for name in names},
    )


def cut(readings: FaceReadings, frames: int) -> FaceReadings:
    """The first frames of readings."""
    return _at(readings, np.arange(min(frames, len(readings))))


def _at(readings: FaceReadings, places: NDArray[np.int64]) -> FaceReadings:
    return replace(
        readings,
        found=readings.found[places],
        landmarks_px=readings.landmarks_px[places],
        mouth_opening=readings.mouth_opening[places],
        pose_rad=readings.pose_rad[places],
        gaze_rad=readings.gaze_rad[places],
        blink=readings.blink[places],
        brow_raise=readings.brow_raise[places],
        smile=readings.smile[places],
    )


def _read_all(videos: Sequence[_Video], workers: int) -> dict[str, FaceReadings]:
    found: dict[str, FaceReadings] = {}
    for video, readings in map_in_processes(_read, videos, min(workers, len(videos))):
        if isinstance(readings, Crashed):
            raise RuntimeError(f"the process that read {video.path} died: {readings.detail}")
        found[video.name] = readings
    return found


def _read(video: _Video) -> FaceReadings:
    pictures = video_frames(video.path, video.frames)
    side_px = video.side_px
    if side_px is not None:
        return _reader().read((squeezed(picture, side_px) for picture in pictures), video.levels)
    return _reader().read(pictures, video.levels)


@cache
def _reader() -> FaceReader:
    return FaceReader()
