"""Pictures, sounds and face readings of the referee's files, each file read once.

Framing `whole` takes square pictures, or a square part of them, as they are and resizes them to 224 px: the
protocol of a run's evaluation. Framing `aligned` follows the face of each file and cuts it out like a clip of
the data set; frames without a face repeat the previous crop and count as frames without a face.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.animation.limited_reading import LimitedReader, worker_follower
from evaluation.animation.media import read_pictures, read_still
from evaluation.readings.blendshapes import BlendshapeReader, BlendshapeReadings
from evaluation.readings.face import FaceReader, FaceReadings, readings_of_landmarks
from evaluation.referee.config import Framing
from evaluation.referee.listing import MediaPart, RefereeRow, RefusedRowError
from preprocessing.labellers.blink_lids import OpennessLevels
from preprocessing.schema import CROP_SIDE_PX, FRAMES_PER_SECOND

Picture = NDArray[np.uint8]
MINIMUM_FRAMES: Final = 10
"""As in a run's evaluation: shorter videos say too little."""


@dataclass(frozen=True)
class MediaPictures:
    """Pictures of a file at 25 fps.

    Attributes:
        pictures: Each uint8 [224, 224, 3] RGB; one if it is a still.
        found: [T] False where framing `aligned` found no face.
        is_still: Whether it is a picture.
    """

    pictures: Sequence[Picture] = field(repr=False)
    found: NDArray[np.bool_] = field(repr=False)
    is_still: bool

    def held(self, frames: int) -> "MediaPictures":
        """A still as that many frames; a video as it is."""
        if not self.is_still:
            return self
        return MediaPictures([self.pictures[0]] * frames, np.repeat(self.found[:1], frames), True)


def choose_framing(
    rows: Sequence[RefereeRow], framing: Framing, limited: LimitedReader
) -> Literal["whole", "aligned"]:
    """The framing of a list: one for all of its rows, so that its values compare.

    `limited` reads the files.

    Raises:
        ValueError: `aligned` with a part of pictures.
    """
    boxed = [part for row in rows for part in row.parts() if part.box is not None]
    if framing == "aligned" and boxed:
        raise ValueError(f"{boxed[0]}: a part of pictures needs --framing whole")
    if framing != "auto":
        return framing
    if boxed:
        return "whole"
    square = all(_shape(part.path, limited) in (None, "square") for row in rows for part in row.parts())
    return "whole" if square else "aligned"


def has_pictures(part: MediaPart, limited: LimitedReader) -> bool:
    """Whether a file is a picture or a video that can be read."""
    return _shape(part.path, limited) is not None


def _shape(path: Path, limited: LimitedReader) -> str | None:
    """`square` or `wide` by the first picture; None for what has no pictures or cannot be read."""
    try:
        return limited.call(path, _read_shape, path)
    except ValueError:
        return None


def _read_shape(path: Path) -> str | None:
    still = read_still(path)
    image = next((frame.image for frame in read_pictures(path)), None) if still is None else still
    if image is None:
        return None
    return "square" if image.shape[0] == image.shape[1] else "wide"


class MediaReader:
    """Reads the files of a list; a context manager that closes MediaPipe.

    Args:
        framing: Of all files.
        seconds: What is read of each, from its beginning.
        landmarker: Task file of the FaceLandmarker; None: no blendshapes.
        limited: Opens the files, which may be anybody's.
    """

    def __init__(
        self,
        framing: Literal["whole", "aligned"],
        seconds: float,
        landmarker: Path | None,
        limited: LimitedReader,
    ) -> None:
        self._framing, self._frames = framing, round(seconds * FRAMES_PER_SECOND)
        self.limited = limited
        self._stack = ExitStack()
        self._faces = self._stack.enter_context(FaceReader())
        self._landmarker = None
        if landmarker is not None:
            self._landmarker = self._stack.enter_context(BlendshapeReader(landmarker))

    def __enter__(self) -> "MediaReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def pictures(self, column: str, part: MediaPart) -> MediaPictures:
        """Pictures of a file.

        Raises:
            RefusedRowError: it cannot be read, is not square, shows no face, or is too short.
        """
        try:
            reader = _read_aligned if self._framing == "aligned" else _read_whole
            read = self.limited.call(part.path, partial(reader, frames=self._frames), part)
        except ValueError as error:
            raise RefusedRowError(column, f"{error}; replace the file, or leave the value empty") from error
        if not read.is_still and len(read.pictures) < MINIMUM_FRAMES:
            raise RefusedRowError(
                column,
                f"{part}: has {len(read.pictures)} frames at 25 fps, need {MINIMUM_FRAMES}; longer video",
            )
        return read

    def readings(self, media: MediaPictures, levels: OpennessLevels | None = None) -> FaceReadings:
        """What the face does in each frame; a still is read once and held."""
        read = self._faces.read(media.pictures[:1] if media.is_still else media.pictures, levels)
        if media.is_still:
            return read.at(np.zeros(len(media.pictures), np.int64))
        if media.found.all():
            return read
        seen = media.found & read.found
        points = [points if found else None for points, found in zip(read.landmarks_px, seen, strict=True)]
        return readings_of_landmarks(points, read.levels)

    def landmarks(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """[T, 478, 3], NaN without a face."""
        return self._faces.read(pictures).landmarks_px

    def blendshapes(self, media: MediaPictures) -> BlendshapeReadings:
        """By the FaceLandmarker, which must have been given; a still is read once and held."""
        assert self._landmarker is not None
        if media.is_still:
            return self._landmarker.read(media.pictures[:1]).at(np.zeros(len(media.pictures), np.int64))
        return self._landmarker.read(media.pictures)

    def sound(self, part: MediaPart) -> NDArray[np.float32] | None:
        """[n] mono at 16 kHz; None if there is none or it is silent."""
        try:
            return self.limited.read_sound(part.path)
        except ValueError:
            return None


def _read_whole(part: MediaPart, frames: int) -> MediaPictures:
    still = read_still(part.path)
    images = (frame.image for frame in read_pictures(part.path)) if still is None else iter([still])
    pictures = [_square(part, image) for image in islice(images, frames)]
    if not pictures:
        raise ValueError(f"{part}: has no pictures")
    return MediaPictures(pictures, np.ones(len(pictures), np.bool_), still is not None)


def _read_aligned(part: MediaPart, frames: int) -> MediaPictures:
    driver = worker_follower().follow(part.path, frames)
    frames = 1 if driver.is_still else min(driver.frames, frames)
    lost = [place is None for place in driver.places]
    found = ~np.array([*[False] * driver.first_index, *lost][:frames], np.bool_)
    return MediaPictures(list(driver.crops(frames)), found, driver.is_still)


def _square(part: MediaPart, image: Picture) -> Picture:
    """A picture's part at 224 px: area to shrink, bicubic to enlarge."""
    height, width = image.shape[:2]
    if part.box is not None:
        left, top, box_width, box_height = part.box
        if left + box_width > width or top + box_height > height:
            raise ValueError(f"{part}: the part is outside of its {width} x {height} px")
        image = image[top : top + box_height, left : left + box_width]
    if image.shape[0] != image.shape[1]:
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise ValueError(f"{part}: pictures are {size} px, not square: --framing aligned finds the face")
    if image.shape[0] == CROP_SIDE_PX:
        return np.ascontiguousarray(image)
    interpolation = cv2.INTER_AREA if image.shape[0] > CROP_SIDE_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (CROP_SIDE_PX, CROP_SIDE_PX), interpolation=interpolation), np.uint8)
