"""Track every face of a shot from frame to frame.

A detector searches the whole picture at the start of a shot, at intervals, and when a face is lost. A large
picture in which it finds none, and one in which a face beside a larger one may be too small for it, are
searched in tiles as well.
Between, each face has its own face mesh on a square window that follows it, so that small faces in large
pictures are measured at full size and a frame costs one mesh per face. The mesh is MediaPipe's with every
detector.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from preprocessing.faces.batched.mesh import batched_mesh
from preprocessing.faces.detectors import Detector, DetectorSettings, find_in_tiles
from preprocessing.faces.iris_refinement import refine_irises
from preprocessing.faces.mesh import FaceMesh
from preprocessing.faces.shape.geometry import bounding_box, intersection_over_union
from preprocessing.faces.tflite.mesh import FaceFollower
from preprocessing.media.source_picture import Picture
from preprocessing.schema import MAXIMUM_CLIP_FRAMES
from storage.settings import Settings

RETRY_FRAMES: Final = 5  # a fifth of a second: shorter tracks are of no use
TILE_FRAMES: Final = 200  # between searches in tiles where there are faces: a small one may come into a shot


class TrackingSettings(Settings):
    """Settings of the face tracker."""

    detect_every_frames: int = Field(
        default=25,
        ge=1,
        description="Frames between detections of new faces; 25 is one second",
    )
    detect_every_steady_frames: int = Field(
        default=50,
        ge=1,
        description="Frames between detections after one that found no new face; >= detect_every_frames",
    )
    detector: DetectorSettings = DetectorSettings()
    mesh: Literal["mediapipe", "mediapipe_graph", "torch"] = Field(
        default="mediapipe",
        description="Face mesh; mediapipe_graph: the same network, run by MediaPipe itself at twice the "
        "cost; torch: the same network for a GPU, on batches of faces of several videos",
    )
    mesh_device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where mesh torch runs; auto: a GPU if there is one"
    )
    videos_at_once: int = Field(
        default=16, ge=1, le=256, description="Videos that a process reads at once with mesh torch"
    )
    tracking_confidence: float = Field(
        default=0.5, ge=0.0, le=1.0, description="Minimum score of the face mesh; below it, a track ends"
    )
    maximum_faces: int = Field(
        default=4, ge=1, le=32, description="Maximum number of faces tracked at once in a video"
    )
    window_scale: float = Field(
        default=2.2,
        ge=1.0,
        le=8.0,
        description="Side of the window around a face, relative to the longer side of its bounding box",
    )
    window_side_px: int = Field(
        default=384,
        ge=128,
        le=4096,
        description="Maximum side of the window; larger windows are downscaled. The crop gains nothing "
        "above its own size",
    )
    memory_mebibytes: int = Field(
        default=512, ge=16, description="Maximum memory for frames of each video being read"
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> "TrackingSettings":
        if self.detect_every_steady_frames < self.detect_every_frames:
            raise ValueError(
                f"detect_every_steady_frames must be >= detect_every_frames, {self.detect_every_frames}, "
                f"got {self.detect_every_steady_frames}"
            )
        if self.bounded_window_side_px() < 2 * 64:
            raise ValueError(
                f"memory_mebibytes {self.memory_mebibytes} allows windows of only "
                f"{self.bounded_window_side_px()} px for {self.maximum_faces} faces, need 128 px"
            )
        return self

    def bounded_window_side_px(self) -> int:
        """Side of the largest window that keeps all buffered windows within `memory_mebibytes`."""
        pictures = self.maximum_faces * 2 * MAXIMUM_CLIP_FRAMES
        bound = int((self.memory_mebibytes * 2**20 / (3 * pictures)) ** 0.5)
        return min(self.window_side_px, bound)


@dataclass(frozen=True)
class TrackedFace:
    """One face in one frame, with the window around it."""

    track: int
    landmarks_px: NDArray[np.float32]  # [478, 3] source pixels
    window: NDArray[np.uint8]  # [S, S, 3] RGB
    window_transform: NDArray[np.float64]  # [2, 3] source px -> window px


@dataclass
class FaceWindow:
    """A square of the source, in source pixels, that follows a face smoothly."""

    centre: NDArray[np.float64]  # [2] x, y
    side: float

    def follow(self, box: NDArray[np.float64], scale: float) -> bool:
        """Move towards a box [left, top, right, bottom]; False where the face moved too fast.

        Steps are small, since each moves the picture under the mesh's own region of interest.
        """
        centre, side = _window_of(box, scale)
        step = np.clip(centre - self.centre, -0.02 * self.side, 0.02 * self.side)
        self.centre = self.centre + step
        self.side = float(np.clip(side, 0.98 * self.side, 1.02 * self.side))
        inside = np.abs(centre - self.centre).max() < 0.2 * self.side
        return bool(inside and 0.6 < side / self.side < 1.4)

    def cut(self, image: Picture, largest_px: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """The window's picture, black outside the frame, and the map [2, 3] from source px to it."""
        side = max(32, round(self.side))
        shrink = max(1, side // largest_px)
        side = -(-side // shrink) * shrink
        left, top = (int(value) for value in np.round(self.centre - side / 2))
        picture = _cut_padded(image, left, top, side)
        # First by a whole factor with INTER_AREA, then bilinear: INTER_AREA with a fractional factor
        # costs three times as much as a face mesh.
        if shrink > 1:
            picture = _resize(picture, side // shrink, cv2.INTER_AREA)
        side_px = min(len(picture), largest_px)
        if side_px < len(picture):
            picture = _resize(picture, side_px, cv2.INTER_LINEAR)
        if picture.base is not None:
            picture = picture.copy()  # a view would keep the whole frame in memory
        zoom = side_px / side
        transform = np.array(
            [[zoom, 0.0, (0.5 - left) * zoom - 0.5], [0.0, zoom, (0.5 - top) * zoom - 0.5]], np.float64
        )
        return picture, transform


@dataclass
class _FollowedFace:
    track: int
    window: FaceWindow
    mesh: FaceMesh | FaceFollower
    detected: NDArray[np.float64]  # the detector's box
    box: NDArray[np.float64]
    frames: int = 0  # in which the mesh found it


class FaceTracker:
    """Tracks the faces of one video at a time; meshes are kept for the next video.

    Args:
        settings: of detection, tracking and windows.
        weights: of the detector, where it needs any.

    Attributes:
        unread_face_px: side of the largest face that the last detection found and that is not tracked: the
            mesh cannot read it, as it is covered or turned away, or there are too many; 0 without one.

    Raises:
        FileNotFoundError, ValueError: as `Backend.open`.
    """

    def __init__(self, settings: TrackingSettings, weights: Path | None = None) -> None:
        self._settings = settings
        self._detector: Detector = settings.detector.selected_backend.open(settings.detector, weights)
        self._idle: list[FaceMesh | FaceFollower] = []
        self._faces: list[_FollowedFace] = []
        self._next_track = 0
        self._since_detection = 0
        self._detection_interval = settings.detect_every_frames
        self._detect_now = True
        self._until_tiles = 0
        self.unread_face_px = 0.0

    def begin_video(self) -> None:
        """Start a video: tracks are numbered from 0 again."""
        self.begin_shot()
        self._next_track = 0

    def begin_shot(self) -> None:
        """End every track."""
        for face in self._faces:
            self._release(face)
        self._faces = []
        self._detect_now = True
        self._until_tiles = 0
        self.unread_face_px = 0.0

    def step(self, image: Picture) -> list[TrackedFace]:
        """Track every face into the next frame.

        Args:
            image: [H, W, 3] RGB.

        Returns:
            The faces of this frame, in the order of their tracks; a track that is missing has ended.
        """
        self._since_detection += 1
        self._until_tiles -= 1
        if self._detect_now or self._since_detection >= self._detection_interval:
            self._detect_new_faces(image)
        views = []
        for face in list(self._faces):
            view = self._follow(face, image)
            if view is None:
                if not face.frames:
                    self._note_unread(face.detected)
                self._faces.remove(face)
                self._release(face)
                self._schedule_detection(face.frames)
            else:
                face.frames += 1
                views.append(view)
        return self._without_duplicates(views)

    def close(self) -> None:
        """Free every graph."""
        self.begin_shot()
        for mesh in self._idle:
            mesh.close()
        self._idle = []
        self._detector.close()

    def _schedule_detection(self, frames_seen: int) -> None:
        """Schedule a detection after a lost face: at once, or a little later if it was very short.

        The detector finds faces on posters and blurred ones again and again, which the mesh drops;
        detecting in every frame would triple the cost of the whole video.
        """
        if frames_seen >= RETRY_FRAMES:
            self._detect_now = True
        else:
            self._detection_interval = min(self._detection_interval, self._since_detection + RETRY_FRAMES)

    def _detect_new_faces(self, image: Picture) -> None:
        # An immediate detection (a new shot, a lost face) is followed by another one soon.
        settled = bool(self._faces) and not self._detect_now
        self._since_detection = 0
        self._detect_now = False
        self.unread_face_px = 0.0
        for box in self._detect(np.asarray(image)):
            if any(_is_same(box, face.box) for face in self._faces):
                continue
            if len(self._faces) == self._settings.maximum_faces:
                self._note_unread(box)
                settled = False
                continue
            centre, side = _window_of(box, self._detector.mesh_over_box * self._settings.window_scale)
            mesh = self._idle.pop() if self._idle else self._new_mesh()
            self._faces.append(_FollowedFace(self._next_track, FaceWindow(centre, side), mesh, box, box))
            self._next_track += 1
            settled = False
        settings = self._settings
        self._detection_interval = (
            settings.detect_every_steady_frames if settled else settings.detect_every_frames
        )

    def _detect(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """[N, 4] boxes of faces, those of the whole picture first."""
        found = self._detector.find(image)[:, :4]
        if self._until_tiles <= 0 or not (len(found) or self._faces):
            self._until_tiles = TILE_FRAMES
            found = np.concatenate([found, find_in_tiles(self._detector, image)[:, :4]])
        return found.astype(np.float64)

    def _note_unread(self, box: NDArray[np.float64]) -> None:
        side = self._detector.mesh_over_box * float((box[2:] - box[:2]).max())
        self.unread_face_px = max(self.unread_face_px, side)

    def _new_mesh(self) -> FaceMesh | FaceFollower:
        confidence = self._settings.tracking_confidence
        if self._settings.mesh == "mediapipe_graph":
            return FaceMesh(tracking=True, minimum_confidence=confidence)
        if self._settings.mesh == "torch":
            mesh = batched_mesh(self._settings.mesh_device)
            return FaceFollower(minimum_confidence=confidence, mesh=mesh)
        return FaceFollower(minimum_confidence=confidence)

    def _release(self, face: _FollowedFace) -> None:
        face.mesh.forget()
        self._idle.append(face.mesh)

    def _follow(self, face: _FollowedFace, image: Picture) -> TrackedFace | None:
        window, transform = face.window.cut(image, self._settings.bounded_window_side_px())
        mesh_px = face.mesh.find(window)
        if mesh_px is None:
            return None
        zoom = transform[0, 0]
        landmarks = refine_irises(window, mesh_px).astype(np.float64)
        landmarks[:, :2] -= transform[:, 2]
        landmarks /= zoom
        face.box = bounding_box(landmarks)
        if not face.window.follow(face.box, self._settings.window_scale):
            face.window = FaceWindow(*_window_of(face.box, self._settings.window_scale))
            face.mesh.forget()
        return TrackedFace(face.track, landmarks.astype(np.float32), window, transform)

    def _without_duplicates(self, views: list[TrackedFace]) -> list[TrackedFace]:
        """Where two meshes have moved onto one face, end the newer track.

        A mesh that begins on another face than the detector's could not read that one.
        """
        kept: list[TrackedFace] = []
        boxes: dict[int, NDArray[np.float64]] = {face.track: face.box for face in self._faces}
        for view in sorted(views, key=lambda view: view.track):
            if any(intersection_over_union(boxes[view.track], boxes[other.track]) > 0.5 for other in kept):
                duplicate = next(face for face in self._faces if face.track == view.track)
                if duplicate.frames == 1 and not _is_same(duplicate.detected, duplicate.box):
                    self._note_unread(duplicate.detected)
                self._faces.remove(duplicate)
                self._release(duplicate)
            else:
                kept.append(view)
        return kept


def _is_same(box: NDArray[np.float64], face_box: NDArray[np.float64]) -> bool:
    """Whether a detector's box is of a face that is tracked; a tile may hold only a part of it."""
    centre = (box[:2] + box[2:]) / 2
    is_inside = bool((face_box[:2] < centre).all() and (centre < face_box[2:]).all())
    return is_inside or intersection_over_union(box, face_box) > 0.2


def _resize(picture: NDArray[np.uint8], side: int, interpolation: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, (side, side), interpolation=interpolation), np.uint8)


def _window_of(box: NDArray[np.float64], scale: float) -> tuple[NDArray[np.float64], float]:
    size = box[2:] - box[:2]
    return (box[:2] + box[2:]) / 2, float(scale * size.max())


def _cut_padded(image: Picture, left: int, top: int, side: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    inside = image[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    if inside.shape[:2] == (side, side):
        return inside
    pads = (max(0, -top), max(0, top + side - height), max(0, -left), max(0, left + side - width))
    vertical, horizontal = pads[0] + pads[1] + inside.shape[0], pads[2] + pads[3] + inside.shape[1]
    if vertical != side or horizontal != side:  # entirely outside the frame
        return np.zeros((side, side, 3), np.uint8)
    return np.asarray(cv2.copyMakeBorder(inside, *pads, cv2.BORDER_CONSTANT, value=(0, 0, 0)), np.uint8)
