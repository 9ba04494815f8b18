"""Whether a face goes on from frame to frame: cuts within the picture, dissolves, and standing pictures.

A cut between two people before one backdrop, or a jump cut, changes little of the picture; the shot detector
compares the colours of all of it. Here the face itself is compared with the frame before, as a thumbnail
aligned by eyes and mouth: expressions and turns change it little within 40 ms, another face a lot. A dissolve
changes it slowly, but every frame of it is a mixture of its ends. So is a slow turn of one head, nearly; but
there the first face, moved as its landmarks were, becomes the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.faces.alignment import EYES_AND_MOUTH, OFFICIAL_TARGET_PX
from preprocessing.faces.shape.geometry import bounding_box, fit_similarity
from preprocessing.faces.tracking import TrackedFace
from preprocessing.media.source_picture import Picture
from storage.settings import Settings

THUMBNAIL_PX: Final = 32
# The official crop's eyes and mouth, in the thumbnail: from the brows to the chin, and the cheeks.
THUMBNAIL_ZOOM: Final = THUMBNAIL_PX / 120
THUMBNAIL_CORNER_PX: Final = np.array([52.0, 30.0])
CHANGE_LEVELS: Final = 4  # of 255: below it is what an encoder does to a picture that it repeats
SAMPLES_A_SIDE: Final = 64
MINIMUM_CHANGED_SHARE: Final = 0.002
QUIET_CHANGE: Final = 0.008  # of a speaking face from frame to frame; measured on 16 videos: at most .03
FADED: Final = 0.3  # from the first to the last of the frames below, where a track ends
TURN_SHARE: Final = 0.7  # of the difference, at most, where the landmarks explain the rest
DISSOLVE_FRAMES: Final = 16  # compared as a whole; longer dissolves are found in their middle

_EYES_AND_MOUTH: Final = np.concatenate(EYES_AND_MOUTH)
_COUNTS: Final = np.array([[len(group)] for group in EYES_AND_MOUTH])
_STARTS: Final = np.cumsum(_COUNTS) - _COUNTS[:, 0]


class ContinuitySettings(Settings):
    """When a face is taken for another one than in the frame before."""

    minimum_change: float = Field(
        default=0.06,
        ge=0.0,
        le=2.0,
        description="Minimum difference of a face's aligned thumbnail from the frame before that is a cut: 0 "
        "equal, 1 unrelated; 98 of 100 pairs of people differ by more than 0.09",
    )
    minimum_rise: float = Field(
        default=5.0,
        ge=1.0,
        description="A cut's difference is at least this many times that of each of the three frames before",
    )
    maximum_dissolve_residual: float = Field(
        default=0.28,
        ge=0.0,
        le=1.0,
        description="A dissolve's frames are a mixture of both ends but for this share; motion leaves more",
    )


@dataclass(frozen=True)
class Thumbnail:
    """A face with eyes and mouth at fixed places."""

    pixels: NDArray[np.float32]  # [32, 32, 3]
    halves: tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]  # above and below the nose
    landmarks_px: NDArray[np.float32]  # [478, 3] in the picture
    to_thumbnail: NDArray[np.float64]  # [2, 3] from the picture

    @classmethod
    def of(
        cls, pixels: NDArray[np.float32], landmarks_px: NDArray[np.float32], to_thumbnail: NDArray[np.float64]
    ) -> "Thumbnail":
        """Of pixels [32, 32, 3]."""
        middle = THUMBNAIL_PX // 2
        halves = (_standardised(pixels[:middle]), _standardised(pixels[middle:]))
        return cls(pixels, halves, landmarks_px, to_thumbnail)

    @property
    def points_px(self) -> NDArray[np.float64]:
        """[478, 2] landmarks in the thumbnail."""
        return self.landmarks_px[:, :2] @ self.to_thumbnail[:, :2].T + self.to_thumbnail[:, 2]

    def moved_to(self, points_px: NDArray[np.float64]) -> "Thumbnail":
        """The thumbnail, changed by the quadratic map that moves its landmarks nearest to others."""
        back = np.linalg.lstsq(_quadratic(points_px), self.points_px, rcond=None)[0]
        rows, columns = np.indices((THUMBNAIL_PX, THUMBNAIL_PX))
        places = np.column_stack([columns.ravel(), rows.ravel()]).astype(np.float64)
        seen = (_quadratic(places) @ back).reshape(THUMBNAIL_PX, THUMBNAIL_PX, 2).astype(np.float32)
        x, y = np.ascontiguousarray(seen[..., 0]), np.ascontiguousarray(seen[..., 1])
        pixels = cv2.remap(self.pixels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return Thumbnail.of(np.asarray(pixels, np.float32), self.landmarks_px, self.to_thumbnail)


def _quadratic(points_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, 6] terms of a quadratic map of points [N, 2] in a thumbnail, of about equal size."""
    x, y = (points_px / (THUMBNAIL_PX / 2) - 1.0).T
    return np.column_stack([np.ones_like(x), x, y, x * x, x * y, y * y])


class FaceContinuity:
    """Compares the faces of each frame with those of the frames before, in one shot after another."""

    def __init__(self, settings: ContinuitySettings) -> None:
        self._settings = settings
        self._thumbnails: dict[int, list[Thumbnail]] = {}  # of the tracks that go on
        self._newest: dict[int, tuple[TrackedFace, Thumbnail]] = {}  # with that of the next frame
        self._image: Picture | None = None

    def begin_shot(self) -> None:
        """Forget the frames before."""
        self._thumbnails = {}
        self._newest = {}
        self._image = None

    def is_broken(self, image: Picture, views: list[TrackedFace]) -> bool:
        """Whether a tracked face is another one than in the frame before, or was cut.

        Args:
            image: [H, W, 3] RGB, the next frame, not yet given to `add`.
            views: its faces.
        """
        if self._image is None or image is self._image:
            return False
        return any(self._is_another(view) for view in views if view.track in self._thumbnails)

    def add(self, image: Picture, views: list[TrackedFace]) -> set[int]:
        """Add a frame that belongs to the shot; returns the tracks whose face stands still in it."""
        before = self._image
        repeated: set[int] = set()
        if before is not None and before.shape == image.shape:
            repeated = {view.track for view in views if _is_repeated(before, image, view)}
        known = self._thumbnails
        self._thumbnails = {
            view.track: [*known.get(view.track, ())[-DISSOLVE_FRAMES:], self._thumbnail(view)]
            for view in views
        }
        self._newest = {}
        self._image = image
        return repeated

    def is_dissolve(self) -> bool:
        """Whether a face has become another one within the last `DISSOLVE_FRAMES`, by mixing."""
        return any(
            len(thumbnails) > DISSOLVE_FRAMES
            and is_mixture(
                thumbnails, self._settings.minimum_change, self._settings.maximum_dissolve_residual
            )
            and not is_turn(thumbnails[0], thumbnails[-1], self._settings.minimum_change)
            for thumbnails in self._thumbnails.values()
        )

    def faded(self, views: list[TrackedFace]) -> set[int]:
        """Tracks that do not go on in the next frame and whose face changed before, as in a dissolve."""
        ended = set(self._thumbnails) - {view.track for view in views}
        return {
            track
            for track in ended
            if difference(self._thumbnails[track][0], self._thumbnails[track][-1]) > FADED
        }

    def _is_another(self, view: TrackedFace) -> bool:
        settings, before = self._settings, self._thumbnails[view.track][-4:]
        change = difference(before[-1], self._thumbnail(view))
        if change < settings.minimum_change:
            return False
        usual = max((difference(a, b) for a, b in pairwise(before)), default=0.0)
        return change > settings.minimum_rise * max(usual, QUIET_CHANGE)

    def _thumbnail(self, view: TrackedFace) -> Thumbnail:
        newest = self._newest.get(view.track)
        if newest is None or newest[0] is not view:
            newest = self._newest[view.track] = (view, face_thumbnail(view))
        return newest[1]


def is_mixture(thumbnails: Sequence[Thumbnail], minimum_change: float, maximum_residual: float) -> bool:
    """Whether thumbnails go from the first to the last as (1 - w) first + w last, with w rising."""
    if difference(thumbnails[0], thumbnails[-1]) < minimum_change:
        return False
    first, last = thumbnails[0].pixels, thumbnails[-1].pixels
    change = (last - first).ravel()
    power = float(change @ change)
    rising = -0.05
    for number, thumbnail in enumerate(thumbnails[1:-1], start=1):
        moved = (thumbnail.pixels - first).ravel()
        weight = float(moved @ change) / power
        residual = moved - weight * change
        if float(residual @ residual) > maximum_residual**2 * power:
            return False
        if number % 4 == 0:  # from one frame to the next, noise may be more than the mixture
            if not rising < weight < 1.05:
                return False
            rising = weight
    return True


def is_turn(first: Thumbnail, last: Thumbnail, minimum_change: float) -> bool:
    """Whether two thumbnails differ by where the landmarks are: one head that has turned.

    Moved so, the first face of a made dissolve still differs by .8 of the difference or more in nearly every
    frame, that of a turn by .6 or less.
    """
    remaining = difference(first.moved_to(last.points_px), last)
    return remaining < max(minimum_change, TURN_SHARE * difference(first, last))


def face_thumbnail(view: TrackedFace) -> Thumbnail:
    """Thumbnail of a face, without fine detail."""
    means = np.add.reduceat(view.landmarks_px[_EYES_AND_MOUTH, :2].astype(np.float64), _STARTS) / _COUNTS
    points = means @ view.window_transform[:, :2].T + view.window_transform[:, 2]
    target = (OFFICIAL_TARGET_PX - THUMBNAIL_CORNER_PX) * THUMBNAIL_ZOOM
    matrix = fit_similarity(points, target).matrix
    to_thumbnail = matrix[:2] @ np.vstack([view.window_transform, [0.0, 0.0, 1.0]])
    zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    window = view.window
    if zoom < 1.0:
        kernel = max(1, round(1 / zoom))
        window, matrix = _cut_to_thumbnail(window, matrix, kernel + 2)
        window = cv2.blur(window, (kernel, kernel))
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    pixels = np.asarray(cv2.warpAffine(window, matrix[:2], size, flags=cv2.INTER_LINEAR), np.float32)
    return Thumbnail.of(pixels, view.landmarks_px, to_thumbnail)


def _cut_to_thumbnail(
    window: NDArray[np.uint8], matrix: NDArray[np.float64], margin_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of a window that its thumbnail shows, with a margin, and the map [2, 3] from it."""
    corners = np.array([[0.0, THUMBNAIL_PX, 0.0, THUMBNAIL_PX], [0.0, 0.0, THUMBNAIL_PX, THUMBNAIL_PX]])
    (a, b), (c, d) = matrix[:, :2].tolist()
    shown = np.array([[d, -b], [-c, a]]) @ (corners - matrix[:, 2:]) / (a * d - b * c)
    left, top = np.maximum(shown.min(axis=1).astype(int) - margin_px, 0).tolist()
    right, bottom = np.maximum(shown.max(axis=1).astype(int) + 1 + margin_px, 1).tolist()
    part = window[top:bottom, left:right]
    if not part.size:
        return window, matrix
    return part, np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2] @ [left, top]])


def difference(a: Thumbnail, b: Thumbnail) -> float:
    """How much two thumbnails differ above and below the nose, the smaller of both: 0 equal, 1 unrelated.

    A blink changes the upper half only, an opened mouth the lower one. Of each half: 1 less the correlation,
    so 0 where the pictures are equal up to brightness and contrast, or one is uniform.
    """
    return min(
        0.0 if first is None or second is None else 1.0 - float(first @ second)
        for first, second in zip(a.halves, b.halves, strict=True)
    )


def _standardised(pixels: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The pixels less their mean as a vector of length 1; None where they are uniform."""
    deviations = pixels.ravel() - pixels.mean()
    norm = float(np.sqrt(deviations @ deviations))
    return deviations / np.float32(norm) if norm > 0.0 else None


def _is_repeated(before: Picture, image: Picture, view: TrackedFace) -> bool:
    """Whether the pixels of a face's box are those of the frame before, but for an encoder's noise."""
    if before is image:
        return True
    box_px = bounding_box(view.landmarks_px)
    low, high = np.maximum(box_px[:2], 0).astype(int), box_px[2:].astype(int) + 1
    step = max(1, int((high - low).max()) // SAMPLES_A_SIDE)
    box = (slice(low[1], max(high[1], 0), step), slice(low[0], max(high[0], 0), step))
    now, then = _pixels(image, box), _pixels(before, box)
    if not now.size:
        return False
    changes = cv2.absdiff(now, then)
    unchanged = cv2.countNonZero(cv2.inRange(changes, np.zeros(3), np.full(3, float(CHANGE_LEVELS))))
    pixels = changes.shape[0] * changes.shape[1]
    return (pixels - unchanged) / pixels < MINIMUM_CHANGED_SHARE


def _pixels(image: Picture, box: tuple[slice, slice]) -> NDArray[np.uint8]:
    """The pixels [H, W, 3] of a strided box, contiguous: copied pixel by pixel, not value by value."""
    pixels = image[box].view("V3")[..., 0]
    return np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape, 3)
