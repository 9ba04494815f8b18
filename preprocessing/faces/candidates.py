"""Candidate clips: cut face tracks into pieces while the video is decoded.

A candidate is at most 64 aligned and encoded frames of one track. The `clips` step decides by scores
and thresholds whether it becomes a clip, so a changed threshold does not decode any video again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.faces.alignment import (
    AlignmentSettings,
    crop_transforms,
    transform_landmarks,
)
from preprocessing.faces.tracking import TrackedFace
from preprocessing.media.jpeg import encode_jpeg
from preprocessing.schema import CROP_SIDE_PX, MAXIMUM_CLIP_FRAMES
from storage.settings import Settings

SCORE_EVERY_FRAMES: Final = 8  # sharpness and brightness change slowly
OUTSIDE_EVERY_FRAMES: Final = 4  # a face takes time to leave the picture
RIVAL_SIZE_SHARE: Final = 0.5  # of a face's size: smaller ones of which no landmarks are kept do not compete


class CandidateSettings(Settings):
    """How tracks are cut into candidates."""

    minimum_frames: int = Field(
        default=25, ge=2, le=32, description="Minimum length of a clip; shorter ones are rejected"
    )
    jpeg_quality: int = Field(default=95, ge=50, le=100, description="JPEG quality of the crops")


@dataclass(frozen=True)
class Candidate:
    """An aligned piece of a track."""

    track: int
    shot: int
    first_frame: int
    frames_jpeg: tuple[bytes, ...]  # () where the piece is too short
    landmarks_px: NDArray[np.float32]  # [T, 478, 3] crop px
    crop_transforms: NDArray[np.float32]  # [T, 2, 3] source px -> crop px
    scores: dict[str, float]
    refused: str = ""  # why its pictures are not kept; empty if they are, or if there are too few

    @property
    def frame_count(self) -> int:
        """T, also where the piece is too short to have pictures."""
        return len(self.landmarks_px)


@dataclass
class _Run:
    """The frames of one track that are not yet part of a candidate."""

    shot: int
    first_frame: int
    views: list[TrackedFace]
    refused: str  # reason, of all its frames
    is_repeated: list[bool]  # for each view: shows the picture of the frame before it
    is_unread_beside: list[bool]  # for each view: a face that cannot be tracked is beside it


class CandidateCutter:
    """Collects the faces of tracks and returns candidates as soon as they are complete."""

    def __init__(self, settings: CandidateSettings, alignment: AlignmentSettings) -> None:
        self._settings = settings
        self._alignment = alignment
        self._runs: dict[int, _Run] = {}

    def add(
        self,
        index: int,
        shot: int,
        views: list[TrackedFace],
        frame_size: tuple[int, int],
        *,
        refused: str = "",
        repeated: Collection[int] = (),
        unread_face_px: float = 0.0,
    ) -> list[Candidate]:
        """Add the faces of one frame; returns the candidates that this completes.

        A track is cut where refused pictures begin and end.

        Args:
            index: frame number on the 25 fps grid.
            shot: shot number.
            views: the frame's faces.
            frame_size: (height, width) of the source in pixels.
            refused: why no clip may hold this picture, e.g. `damaged_pictures`; empty if one may.
            repeated: tracks whose faces are those of the frame before, pixel by pixel.
            unread_face_px: side of the largest face that is in the picture and not tracked; 0 without one.
        """
        present = {view.track for view in views}
        done: list[Candidate] = []
        for track in [
            track for track, run in self._runs.items() if track not in present or run.refused != refused
        ]:
            done += self._finish(self._runs.pop(track), frame_size)
        for view in views:
            run = self._runs.setdefault(view.track, _Run(shot, index, [], refused, [], []))
            run.views.append(view)
            run.is_repeated.append(view.track in repeated)
            side_px = float(np.ptp(view.landmarks_px[:, :2], axis=0).max())
            run.is_unread_beside.append(unread_face_px >= RIVAL_SIZE_SHARE * side_px)
            # With fewer than 64 + minimum frames left, the rest can be split without losing a frame.
            if len(run.views) == MAXIMUM_CLIP_FRAMES + self._settings.minimum_frames:
                done.append(self._cut(run, MAXIMUM_CLIP_FRAMES, frame_size))
        return done

    def finish(
        self, frame_size: tuple[int, int], *, refused_frames: int = 0, refused: str = ""
    ) -> list[Candidate]:
        """End every track, at the end of a shot or of the video; returns the last candidates.

        Args:
            frame_size: (height, width) of the source in pixels.
            refused_frames: at the end of every track, fewer than `minimum_frames`, that no clip may hold.
            refused: why not.
        """
        done: list[Candidate] = []
        for track in list(self._runs):
            done += self.end_track(track, frame_size, refused_frames, refused)
        return done

    def end_track(
        self, track: int, frame_size: tuple[int, int], refused_frames: int, refused: str
    ) -> list[Candidate]:
        """End one track, as `finish` ends all; nothing for one that has no frames left."""
        run = self._runs.pop(track, None)
        if run is None:
            return []
        done: list[Candidate] = []
        kept = max(0, len(run.views) - refused_frames)
        tail = _Run(
            run.shot,
            run.first_frame + kept,
            run.views[kept:],
            refused,
            run.is_repeated[kept:],
            run.is_unread_beside[kept:],
        )
        run.views, run.is_repeated = run.views[:kept], run.is_repeated[:kept]
        run.is_unread_beside = run.is_unread_beside[:kept]
        for piece in (run, tail):
            if piece.views:
                done += self._finish(piece, frame_size)
        return done

    def _finish(self, run: _Run, frame_size: tuple[int, int]) -> list[Candidate]:
        pieces: list[Candidate] = []
        if len(run.views) > MAXIMUM_CLIP_FRAMES:
            pieces.append(self._cut(run, len(run.views) // 2, frame_size))
        pieces.append(self._cut(run, len(run.views), frame_size))
        return pieces

    def _cut(self, run: _Run, frames: int, frame_size: tuple[int, int]) -> Candidate:
        views, run.views = run.views[:frames], run.views[frames:]
        repeated, run.is_repeated = run.is_repeated[:frames], run.is_repeated[frames:]
        unread, run.is_unread_beside = run.is_unread_beside[:frames], run.is_unread_beside[frames:]
        first_frame, run.first_frame = run.first_frame, run.first_frame + frames
        landmarks_px = np.stack([view.landmarks_px for view in views])
        transforms = crop_transforms(landmarks_px, self._alignment)
        scores = {
            "face_size_px": _face_size_px(landmarks_px),
            "largest_step": _largest_step(landmarks_px),
            "outside_share": _outside_share(views, transforms, frame_size),
            "repeated_share": float(np.mean(repeated)),
            "standing_frames": float(_longest_run(repeated)),
            "unread_frames": float(sum(unread)),
        }
        jpegs: tuple[bytes, ...] = ()
        if not run.refused and frames >= self._settings.minimum_frames:
            jpegs, picture_scores = self._encode(views, transforms)
            scores |= picture_scores
        moved = transform_landmarks(landmarks_px, transforms)
        return Candidate(views[0].track, run.shot, first_frame, jpegs, moved, transforms, scores, run.refused)

    def _encode(
        self, views: list[TrackedFace], transforms: NDArray[np.float32]
    ) -> tuple[tuple[bytes, ...], dict[str, float]]:
        jpegs: list[bytes] = []
        sharpness: list[float] = []
        brightness: list[float] = []
        size, flags = (CROP_SIDE_PX, CROP_SIDE_PX), cv2.INTER_LINEAR
        for number, (view, to_crop) in enumerate(zip(views, _window_maps(views, transforms), strict=True)):
            crop = np.asarray(cv2.warpAffine(view.window, to_crop, size, flags=flags), np.uint8)
            if number % SCORE_EVERY_FRAMES == 0:
                grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
                sharpness.append(float(cv2.Laplacian(grey, cv2.CV_32F).var()))
                brightness.append(float(grey.mean()))
            jpegs.append(encode_jpeg(crop, self._settings.jpeg_quality))
        return tuple(jpegs), {
            "sharpness": float(np.median(sharpness)),
            "brightness": float(np.median(brightness)),
        }


def _window_maps(views: list[TrackedFace], transforms: NDArray[np.float32]) -> NDArray[np.float64]:
    """[T, 2, 3] maps from the pixels of each view's window to those of its crop."""
    windows = np.stack([view.window_transform for view in views])
    linear = transforms[:, :, :2].astype(np.float64) @ np.linalg.inv(windows[:, :, :2])
    shift = transforms[:, :, 2:] - linear @ windows[:, :, 2:]
    return np.concatenate([linear, shift], axis=2)


def _face_size_px(landmarks_px: NDArray[np.float32]) -> float:
    """Longer side of the face's box in the source, the clip's median."""
    sides = np.ptp(landmarks_px[..., :2], axis=1).max(axis=1)
    return float(np.median(sides))


def _largest_step(landmarks_px: NDArray[np.float32]) -> float:
    """Largest mean movement of the landmarks between neighbouring frames, in face sizes.

    Large where the tracker slips, since people do not move that fast.
    """
    if len(landmarks_px) < 2:
        return 0.0
    moves = np.diff(landmarks_px[..., :2], axis=0)
    steps = np.hypot(moves[..., 0], moves[..., 1]).mean(axis=1)
    return float(steps.max() / _face_size_px(landmarks_px))


def _longest_run(repeated: Sequence[bool]) -> int:
    """Frames for which a picture stands still, at most: those of the longest run of repeats."""
    longest = current = 0
    for is_repeat in repeated:
        current = current + 1 if is_repeat else 0
        longest = max(longest, current)
    return longest


def _outside_share(
    views: list[TrackedFace], transforms: NDArray[np.float32], frame_size: tuple[int, int]
) -> float:
    """Largest share of a crop that is black: outside the source frame or outside the tracker's window.

    The latter happens where the face moves out of a square crop, which is fixed for the clip.
    """
    ticks = np.linspace(0.0, CROP_SIDE_PX - 1.0, 15)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    views, transforms = views[::OUTSIDE_EVERY_FRAMES], transforms[::OUTSIDE_EVERY_FRAMES]
    inverse = np.linalg.inv(transforms[:, :, :2].astype(np.float64))
    source = np.einsum("tij,tnj->tni", inverse, grid[None] - transforms[:, None, :, 2])
    height, width = frame_size
    to_window = np.stack([view.window_transform for view in views])
    window = np.einsum("tij,tnj->tni", to_window[:, :, :2], source) + to_window[:, None, :, 2]
    sides = np.array([len(view.window) for view in views])[:, None]
    outside = (source < -0.5).any(axis=-1) | (source[..., 0] > width - 0.5) | (source[..., 1] > height - 0.5)
    outside |= (window < -0.5).any(axis=-1) | (window.max(axis=-1) > sides - 0.5)
    return float(outside.mean(axis=1).max())
