"""Read the faces of many videos in several processes, each video once.

Only the folder of `generated_videos` is read. MediaPipe is imported in the processes that read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from evaluation.generation.files import GeneratedVideos, Pictures, resize_roundtrip, video_frames
from evaluation.generation.reenactment import Reenactment
from evaluation.readings.blendshapes import BlendshapeReader, BlendshapeReadings
from evaluation.readings.cross_truth import CrossTruth
from evaluation.readings.face import FaceReader, FaceReadings
from evaluation.readings.measures import AnyReadings
from preprocessing.labellers.blink_lids import OpennessLevels
from preprocessing.process_pool import Crashed, map_in_processes


@dataclass(frozen=True)
class _Video:
    """Frames of a file to read, as they are or resized to the networks' side."""

    name: str
    path: Path
    frames: int
    side_px: int | None
    levels: OpennessLevels | None


@dataclass(frozen=True)
class _CrossVideo:
    """A cross or control video whose true pictures the renderer draws."""

    name: str
    reenactment: Reenactment
    levels: OpennessLevels | None

    @property
    def path(self) -> str:
        """For messages."""
        return f"the true pictures of {self.name}"


AnyVideo = TypeVar("AnyVideo", _Video, _CrossVideo)


@dataclass(frozen=True)
class VideoReadings(Generic[AnyReadings]):
    """Readings of all videos of the control evaluation.

    Attributes:
        clips: By key, at 224 px: drivers and ground truth.
        resized: By key, the same clips at the networks' side, as baselines and ground truth are measured.
        rendered: By reenactment, the model's videos.
        portraits: By reenactment, one frame at the networks' side.
        truths: By reenactment, the renderer's pictures at the networks' side; empty if they are unknown.
    """

    clips: Mapping[str, AnyReadings]
    resized: Mapping[str, AnyReadings]
    rendered: Mapping[str, AnyReadings]
    portraits: Mapping[str, AnyReadings]
    truths: Mapping[str, AnyReadings] = field(default_factory=dict)

    def still(self, reenactment: Reenactment) -> AnyReadings:
        """The portrait held for the whole video; read once, so that jitter does not look like motion."""
        portrait = self.portraits[reenactment.name]
        return portrait.at(np.zeros(reenactment.frames, np.int64))


def read_everything(
    generated: GeneratedVideos, workers: int, truth: CrossTruth | None = None
) -> VideoReadings[FaceReadings]:
    """Readings of all videos and clips; levels of a person's eyes come from that person's clip.

    Args:
        generated: The videos.
        workers: Processes; 0 reads in this process.
        truth: Renders the true pictures of cross and control videos; None: they are not read.

    Raises:
        ValueError: a video cannot be read, or is shorter than its plan says; names it.
        RuntimeError: a process died.
    """
    clips = _read_all(_read, _clips(generated), workers)
    # How open the eyes are is relative to the true clip of the portrait's person.
    levels = {key: readings.levels for key, readings in clips.items()}
    read = _gathered(generated, clips, _read_all(_read, _rest(generated, levels), workers))
    if truth is None or truth.missing_because:
        return read
    crossed = [
        _CrossVideo(reenactment.name, reenactment, levels[reenactment.portrait])
        for task in ("cross", "control")
        for reenactment in generated.plan.of_task(task)
    ]
    true = partial(_read_truth, truth, generated.facts.side_px)
    return replace(read, truths=_read_all(true, crossed, workers))


def read_blendshapes(
    generated: GeneratedVideos, model: Path, workers: int
) -> VideoReadings[BlendshapeReadings]:
    """The same videos read by the FaceLandmarker of a task file. Raises as `read_everything`."""
    read = partial(_read_blendshapes, model)
    clips = _read_all(read, _clips(generated), workers)
    rest = _rest(generated, dict.fromkeys(generated.facts.clips))
    return _gathered(generated, clips, _read_all(read, rest, workers))


def cut(readings: AnyReadings, frames: int) -> AnyReadings:
    """The first frames of readings."""
    return readings.at(np.arange(min(frames, len(readings))))


def _clips(generated: GeneratedVideos) -> list[_Video]:
    return [
        _Video(key, generated.clip(key), facts.frames, None, None)
        for key, facts in generated.facts.clips.items()
    ]


def _rest(generated: GeneratedVideos, levels: Mapping[str, OpennessLevels | None]) -> list[_Video]:
    """All videos except the clips at 224 px; `levels` by clip."""
    side_px = generated.facts.side_px
    rest = [
        _Video(f"resized {key}", generated.clip(key), facts.frames, side_px, levels[key])
        for key, facts in generated.facts.clips.items()
    ]
    for reenactment in generated.plan.reenactments:
        known, first = levels[reenactment.portrait], reenactment.portrait_frame + 1
        rest.append(
            _Video(
                f"rendered {reenactment.name}",
                generated.video(reenactment.name),
                reenactment.frames,
                None,
                known,
            )
        )
        rest.append(
            _Video(f"still {reenactment.name}", generated.clip(reenactment.portrait), first, side_px, known)
        )
    return rest


def _gathered(
    generated: GeneratedVideos, clips: Mapping[str, AnyReadings], readings: Mapping[str, AnyReadings]
) -> VideoReadings[AnyReadings]:
    names = [reenactment.name for reenactment in generated.plan.reenactments]
    return VideoReadings(
        clips=clips,
        resized={key: readings[f"resized {key}"] for key in generated.facts.clips},
        rendered={name: readings[f"rendered {name}"] for name in names},
        portraits={name: readings[f"still {name}"].at(np.array([-1])) for name in names},
    )


def _read_all(
    read: Callable[[AnyVideo], AnyReadings], videos: Sequence[AnyVideo], workers: int
) -> dict[str, AnyReadings]:
    by_name: dict[str, AnyReadings] = {}
    for video, readings in map_in_processes(read, videos, min(workers, len(videos))):
        if isinstance(readings, Crashed):
            raise RuntimeError(f"the process that read {video.path} died: {readings.detail}")
        by_name[video.name] = readings
    return by_name


def _read(video: _Video) -> FaceReadings:
    from evaluation.animation.media import errors_naming  # loads FFmpeg's libraries

    with errors_naming(video.path):
        return _reader().read(_pictures(video), video.levels)


def _read_truth(truth: CrossTruth, side_px: int, video: _CrossVideo) -> FaceReadings:
    pictures = (resize_roundtrip(crop, side_px) for crop in truth.crops(video.reenactment))
    return _reader().read(pictures, video.levels)


def _read_blendshapes(model: Path, video: _Video) -> BlendshapeReadings:
    from evaluation.animation.media import errors_naming

    with errors_naming(video.path):
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
