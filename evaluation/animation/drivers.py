"""Turns a driver (a still or a video of any size) into aligned 224 px face crops at 25 fps, in two passes.

The first pass tracks the face as `face_tracks` does and stores a few numbers per frame; the second cuts the
crops, using the average landmarks of the whole shot. Training averages over clips of at most 64 frames; over
a shot, a head that stays tilted stays tilted. Everything else is as in training: the tracker's windows, the
official alignment, one resampling.

A driver that is too short holds its last frame, and frames without a face repeat the previous face; frames
before the first face show the first one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evaluation.animation.media import UnusableInputError, errors_naming, read_pictures, read_still
from preprocessing.faces.alignment import (
    EYES_AND_MOUTH,
    NETWORK_LEFT_PX,
    NETWORK_SIDE_PX,
    OFFICIAL_SMOOTHING,
    OFFICIAL_TARGET_PX,
)
from preprocessing.faces.shape.geometry import fit_similarity
from preprocessing.faces.tracking import FaceTracker, FaceWindow, TrackedFace, TrackingSettings
from preprocessing.media.shots import ShotDetector, ShotSettings
from preprocessing.schema import CROP_SIDE_PX, FRAMES_PER_SECOND
from storage.settings import Settings

STILL_REPEATS: Final = 5  # tracker steps on a still, until its window has settled on the face


class DriverSettings(Settings):
    """Settings of finding a driver's face."""

    tracking: TrackingSettings = TrackingSettings()
    shots: ShotSettings = ShotSettings()
    second_face_size: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Minimum size of a second face, relative to the first; smaller faces are in the "
        "background",
    )
    second_face_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Maximum share of frames with a second face; with more, it is unclear which to follow",
    )
    minimum_brightness: float = Field(
        default=20.0,
        ge=0,
        le=255,
        description="Minimum mean grey level of the face, the median of all frames; darker ones are refused",
    )


@dataclass(frozen=True)
class FacePlace:
    """Position of the face in one frame, in source pixels."""

    shot: int
    points_px: NDArray[np.float64]  # [3, 2] image-left eye, image-right eye, mouth
    window_centre_px: NDArray[np.float64]  # [2] x, y
    window_side_px: int


@dataclass(frozen=True)
class FaceDriver:
    """A tracked face.

    Attributes:
        path: The file.
        settings: With which the face was found.
        first_index: Index of the first picture on the 25 fps grid.
        places: One for each picture, None if no face was found.
        is_still: Whether the file is a still picture.
    """

    path: Path
    settings: DriverSettings
    first_index: int
    places: tuple[FacePlace | None, ...]
    is_still: bool

    @property
    def frames(self) -> int:
        """Number of frames at 25 fps, from time 0 on."""
        return self.first_index + len(self.places)

    @property
    def frames_without_face(self) -> int:
        """Number of frames in which no face was found."""
        return sum(place is None for place in self.places)

    def crops(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """`count` aligned crops [224, 224, 3] RGB from time 0 on; repeated ones are the same object."""
        crops = self._tracked_crops()
        first = next(crops)
        first_face = next(index for index, place in enumerate(self.places) if place is not None)
        whole = chain(repeat(first, self.first_index + first_face + 1), crops)
        yielded, last = 0, first
        for last in islice(whole, count):
            yield last
            yielded += 1
        yield from repeat(last, count - yielded)

    def _tracked_crops(self) -> Iterator[NDArray[np.uint8]]:
        """Crops from the first face on, one for each picture."""
        aligners = {shot: Aligner(points) for shot, points in self._mean_points().items()}
        last: NDArray[np.uint8] | None = None
        for place, image in zip(self.places, self._images(), strict=False):
            if place is not None:
                last = self._cut(image, place, aligners[place.shot].transform(place.points_px))
            if last is not None:
                yield last

    def _images(self) -> Iterator[NDArray[np.uint8]]:
        still = read_still(self.path) if self.is_still else None
        if still is not None:
            yield still
            return
        for frame in read_pictures(self.path):
            yield frame.image

    def _mean_points(self) -> dict[int, NDArray[np.float64]]:
        by_shot: dict[int, list[NDArray[np.float64]]] = {}
        for place in self.places:
            if place is not None:
                by_shot.setdefault(place.shot, []).append(place.points_px)
        return {shot: np.mean(points, axis=0) for shot, points in by_shot.items()}

    def _cut(
        self, image: NDArray[np.uint8], place: FacePlace, transform: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        """The crop, from the tracker's own window as in training."""
        window = FaceWindow(place.window_centre_px, float(place.window_side_px))
        picture, to_window = window.cut(image, self.settings.tracking.bounded_window_side_px())
        to_crop = np.vstack([transform, [0, 0, 1]]) @ np.linalg.inv(np.vstack([to_window, [0, 0, 1]]))
        size = (CROP_SIDE_PX, CROP_SIDE_PX)
        return np.asarray(cv2.warpAffine(picture, to_crop[:2], size, flags=cv2.INTER_LINEAR), np.uint8)


class Aligner:
    """The official alignment of `preprocessing.faces.alignment`, frame by frame, with a given average."""

    def __init__(self, mean_points_px: NDArray[np.float64]) -> None:
        self._similarity = fit_similarity(mean_points_px, OFFICIAL_TARGET_PX).matrix
        self._pin: NDArray[np.float64] | None = None

    def transform(self, points_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """[2, 3] source px -> crop px of the next frame, whose eyes and mouth are [3, 2] in source px."""
        mouth = self._similarity[:, :2] @ points_px[2] + self._similarity[:, 2]
        pin = OFFICIAL_TARGET_PX[2] - mouth
        if self._pin is not None:
            pin = OFFICIAL_SMOOTHING * self._pin + (1 - OFFICIAL_SMOOTHING) * pin
        self._pin = pin
        zoom = CROP_SIDE_PX / NETWORK_SIDE_PX
        cut = np.array([-NETWORK_LEFT_PX + 0.5, 0.5]) * zoom - 0.5
        transform = zoom * self._similarity
        transform[:, 2] += zoom * pin + cut
        return transform


class FaceFollower:
    """Tracks the face of one file after the other; a context manager that closes its tracker."""

    def __init__(self, settings: DriverSettings | None = None) -> None:
        self.settings = settings or DriverSettings()
        self._tracker = FaceTracker(self.settings.tracking)

    def __enter__(self) -> "FaceFollower":
        return self

    def __exit__(self, *error: object) -> None:
        self._tracker.close()

    def follow(
        self, path: Path, maximum_frames: int | None = None, progress: Callable[[int], None] | None = None
    ) -> FaceDriver:
        """The face of a still or of a video.

        Args:
            path: The file.
            maximum_frames: Number of frames of a video that are read; None: all.
            progress: Called with the number of frames read.

        Raises:
            FileNotFoundError: there is no such file.
            UnusableInputError: it cannot be read, shows no face, or shows two of similar size.
        """
        with errors_naming(path):
            self._tracker.begin_video()
            still = read_still(path)
            if still is not None:
                views = [self._tracker.step(still) for _ in range(STILL_REPEATS)]
                survey = _Survey(self.settings)
                survey.add(0, views[-1], still)
            else:
                survey = self._survey(path, maximum_frames, progress)
            survey.check(path)
        return FaceDriver(
            path, self.settings, survey.first_index, tuple(survey.places), is_still=still is not None
        )

    def crop(self, path: Path) -> NDArray[np.uint8]:
        """The first crop [224, 224, 3] RGB of a portrait: a still, or the first second of a video.

        Raises as `follow`.
        """
        return next(self.follow(path, maximum_frames=FRAMES_PER_SECOND).crops(1))

    def _survey(
        self, path: Path, maximum_frames: int | None, progress: Callable[[int], None] | None
    ) -> "_Survey":
        survey, shots, shot = _Survey(self.settings), ShotDetector(self.settings.shots), 0
        for frame in islice(read_pictures(path), maximum_frames):
            if not survey.places:
                survey.first_index = frame.index
            if shots.begins_shot(frame.image) and survey.places:
                shot += 1
                self._tracker.begin_shot()
            survey.add(shot, self._tracker.step(frame.image), frame.image)
            if progress is not None:
                progress(len(survey.places))
        return survey


@dataclass
class _Survey:
    settings: DriverSettings
    first_index: int = 0
    places: list[FacePlace | None] = field(default_factory=list)
    frames_with_two: int = 0
    brightness: list[float] = field(default_factory=list)  # of the face, of the picture where there is none

    def add(self, shot: int, views: list[TrackedFace], image: NDArray[np.uint8]) -> None:
        """Add the next frame: its largest face."""
        by_size = sorted(views, key=lambda view: -_size_px(view))
        self.brightness.append(_brightness(by_size[0]) if by_size else float(image[::8, ::8].mean()))
        self.places.append(_place(shot, by_size[0]) if by_size else None)
        if len(by_size) > 1 and _size_px(by_size[1]) > self.settings.second_face_size * _size_px(by_size[0]):
            self.frames_with_two += 1

    def check(self, path: Path) -> None:
        """Raise UnusableInputError if there is no face, a dark one, or more than one."""
        frames = len(self.places)
        faces = frames - self.places.count(None)
        brightness = float(np.median(self.brightness)) if self.brightness else 0.0
        bound = self.settings.minimum_brightness
        dark = f"too dark: mean grey level {brightness:.0f} of 255, need {bound:.0f}"
        if not faces:
            searched = f"any of its {frames} frames" if frames > 1 else "it"
            why = f"; it is {dark}" if brightness < bound and frames else ""
            raise UnusableInputError(f"{path}: no face was found in {searched}{why}")
        if brightness < bound:
            raise UnusableInputError(f"{path}: the face is {dark}")
        if self.frames_with_two > self.settings.second_face_share * faces:
            where = f" in {self.frames_with_two} of {frames} frames" if frames > 1 else ""
            raise UnusableInputError(
                f"{path}: shows two faces of similar size{where}; use one that shows one person"
            )


def _brightness(view: TrackedFace) -> float:
    """Mean grey level of the box around a face's landmarks."""
    transform = view.window_transform
    points = view.landmarks_px[:, :2] @ transform[:, :2].T + transform[:, 2]
    left, top = np.maximum(points.min(axis=0), 0).astype(int)
    right, bottom = np.ceil(points.max(axis=0)).astype(int) + 1
    face = view.window[top:bottom, left:right]
    return float(face.mean()) if face.size else 0.0


def eyes_and_mouth(landmarks_px: NDArray[np.float32]) -> NDArray[np.float64]:
    """The three points [3, 2] of landmarks [478, 3] that the official alignment uses."""
    points = landmarks_px[:, :2].astype(np.float64)
    return np.stack([points[list(group)].mean(axis=0) for group in EYES_AND_MOUTH])


def _place(shot: int, view: TrackedFace) -> FacePlace:
    zoom, left, top = view.window_transform[0, 0], *view.window_transform[:, 2]
    side = round(len(view.window) / zoom)
    corner = np.round(0.5 - (np.array([left, top]) + 0.5) / zoom)
    return FacePlace(shot, eyes_and_mouth(view.landmarks_px), corner + side / 2, side)


def _size_px(view: TrackedFace) -> float:
    return float(np.ptp(view.landmarks_px[:, :2], axis=0).max())
