"""Clips of the data set as drivers and portraits: crops and sound, read from the shards without the labels.

Imports no torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocessing.archive import Place, read_members
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import SAMPLES_PER_FRAME, Clip, ClipSource, VideoSound
from preprocessing.shards import decode_clip
from training.data.index import ClipIndex


@dataclass(frozen=True)
class DrivingClip:
    """A clip as a driver: an `evaluation.animation.rendering.Face` with its sound.

    Attributes:
        path: The clip's key; drivers of one clip are encoded once.
        sound: [T * 640] float32 mono at 16 kHz.
        video_sound: What is around it in its video.
        annotations: Labels of a list, such as the emotion.
    """

    path: Path
    identity: str
    source: ClipSource
    frames_jpeg: tuple[bytes, ...]
    sound: NDArray[np.float32]
    video_sound: VideoSound
    annotations: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def crops(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """The first `count` aligned crops [224, 224, 3] RGB.

        Raises:
            ValueError: the clip is shorter, or a frame is no JPEG file.
        """
        if count > len(self.frames_jpeg):
            raise ValueError(f"{self.path}: has {len(self.frames_jpeg)} frames, need {count}")
        yield from map(self._decoded, self.frames_jpeg[:count])

    def sound_of(self, frames: int) -> NDArray[np.float32]:
        """The sound of the first frames."""
        return self.sound[: frames * SAMPLES_PER_FRAME]

    def _decoded(self, jpeg: bytes) -> NDArray[np.uint8]:
        try:
            return decode_jpeg(jpeg)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error


class ClipReader:
    """Reads clips of an index by key, without caching."""

    def __init__(self, index: ClipIndex) -> None:
        self._index = index
        self._numbers: Mapping[str, int] = {index.key(clip): clip for clip in range(len(index))}

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all clips."""
        return tuple(self._numbers)

    def read(self, key: str) -> DrivingClip:
        """A clip.

        Raises:
            ValueError: the shard does not match the index.
        """
        clip = self._decoded(key)
        return DrivingClip(
            Path(key),
            clip.identity,
            clip.source,
            clip.frames_jpeg,
            clip.sound,
            clip.video_sound,
            clip.annotations,
        )

    def _decoded(self, key: str) -> Clip:
        number = self._numbers[key]
        place = Place(int(self._index.offsets_bytes[number]), int(self._index.sizes_bytes[number]))
        shard = self._index.local_shard(number)
        return decode_clip(key, read_members(shard, place))
