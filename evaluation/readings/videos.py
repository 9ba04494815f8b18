"""Readings of many videos, in several processes: each video once, and by itself.

Only the folder of `generated_videos` is read. MediaPipe is loaded in the processes that read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Generic

import numpy as np

from evaluation.generation.files import GeneratedVideos, Pictures, resize_roundtrip, video_frames
from evaluation.generation.reenactment import Reenactment
from evaluation.readings.blendshapes import BlendshapeReader, BlendshapeReadings
from evaluation.readings.face import FaceReader, FaceReadings
from evaluation.readings.measures import AnyReadings
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
class VideoReadings(Generic[AnyReadings]):
    """Readings of all that a table of control holds.

    Attributes:
        clips: By key, at 224 px: what drives, and what is true.
        shown: By key, the same clips through the networks' side: what a labeller can still see of them.
        made: By reenactment, the model's videos.
        portraits: By reenactment, one frame through the networks' side.
    """

    clips: Mapping[str, AnyReadings]
    shown: Mapping[str, AnyReadings]
    made: Mapping[str, AnyReadings]
    portraits: Mapping[str, AnyReadings]

    def still(self, reenactment: Reenactment) -> AnyReadings:
        """Of the portrait, held for the whole video: read once, so that no jitter looks like motion."""
        portrait = self.portraits[reenactment.name]
        return portrait.at(np.zeros(reenactment.frames, np.int64))


def read_everything(made: GeneratedVideos, workers: int) -> VideoReadings[FaceReadings]:
    """Read clips first: the levels of a person's eyes come from that person's clip.

    Args:
        made: The videos.
        workers: Processes; 0 reads in this one.

    Raises:
        ValueError: a video is not what its list says.
        RuntimeError: a process died.
    """
    clips = _read_all(_read, _clips(made), workers)
    # The person of the portrait: whether the eyes stand open is told by how far they do in the truth.
    rest = _rest(made, {key: readings.levels for key, readings in clips.items()})
    return _gathered(made, clips, _read_all(_read, rest, workers))


def read_blendshapes(made: GeneratedVideos, model: Path, workers: int) -> VideoReadings[BlendshapeReadings]:
    """The same videos as the FaceLandmarker of a task file reads them. Raises as `read_everything`."""
    read = partial(_read_blendshapes, model)
    clips = _read_all(read, _clips(made), workers)
    rest = _rest(made, dict.fromkeys(made.facts.clips))
    return _gathered(made, clips, _read_all(read, rest, workers))


def cut(readings: AnyReadings, frames: int) -> AnyReadings:
    """The first frames of readings."""
    return readings.at(np.arange(min(frames, len(readings))))


def _clips(made: GeneratedVideos) -> list[_Video]:
    return [_Video(key, made.clip(key), facts.frames, None, None) for key, facts in made.facts.clips.items()]


def _rest(made: GeneratedVideos, levels: Mapping[str, OpennessLevels | None]) -> list[_Video]:
    """All but the clips as they are; `levels` by clip."""
    side_px = made.facts.side_px
    rest = [
        _Video(f"shown {key}", made.clip(key), facts.frames, side_px, levels[key])
        for key, facts in made.facts.clips.items()
    ]
    for one in made.plan.reenactments:
        known, first = levels[one.portrait], one.portrait_frame + 1
        rest.append(_Video(f"made {one.name}", made.video(one.name), one.frames, None, known))
        rest.append(_Video(f"still {one.name}", made.clip(one.portrait), first, side_px, known))
    return rest


def _gathered(
    made: GeneratedVideos, clips: Mapping[str, AnyReadings], found: Mapping[str, AnyReadings]
) -> VideoReadings[AnyReadings]:
    names = [one.name for one in made.plan.reenactments]
    return VideoReadings(
        clips=clips,
        shown={key: found[f"shown {key}"] for key in made.facts.clips},
        made={name: found[f"made {name}"] for name in names},
        portraits={name: found[f"still {name}"].at(np.array([-1])) for name in names},
    )


def _read_all(
    read: Callable[[_Video], AnyReadings], videos: Sequence[_Video], workers: int
) -> dict[str, AnyReadings]:
    found: dict[str, AnyReadings] = {}
    for video, readings in map_in_processes(read, videos, min(workers, len(videos))):
        if isinstance(readings, Crashed):
            raise RuntimeError(f"the process that read {video.path} died: {readings.detail}")
        found[video.name] = readings
    return found


def _read(video: _Video) -> FaceReadings:
    return _reader().read(_pictures(video), video.levels)


def _read_blendshapes(model: Path, video: _Video) -> BlendshapeReadings:
    return _blendshape_reader(model).read(_pictures(video))


def _pictures(video: _Video) -> Pictures:
    pictures, side_px = video_frames(video.path, video.frames), video.side_px
    return pictures if side_px is None else (resize_roundtrip(picture, side_px) for picture in pictures)


@cache
def _reader() -> FaceReader:
    return FaceReader()


@cache
def _blendshape_reader(model: Path) -> BlendshapeReader:
    return BlendshapeReader(model)
