"""Crops of the protocol `track`: boxes linked over frames, smoothed, and cut with a margin below the chin."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.signal import medfilt

from evaluation.metrics.lip_sync.distance import VIDEO_SIDE_PX
from preprocessing.faces.shape.geometry import intersection_over_union


@dataclass(frozen=True)
class TrackProtocol:
    """Constants of the protocol, those of the published program except the detection confidence.

    The published .9 is on the scale of its own detector. MediaPipe's scores of plain frontal faces are
    between .82 and .94 (seven real clips), so .9 would leave most videos unscored; .5 is MediaPipe's default.
    """

    detection_confidence: float = 0.5
    linking_overlap: float = 0.5  # intersection over union of successive boxes must exceed this
    largest_gap_frames: int = 25  # longest gap within a track
    minimum_track_frames: int = 100  # minimum number of frames with a detection
    minimum_face_px: float = 100.0  # mean of the box's longer side must exceed this
    smoothing_frames: int = 13  # of the median filter over centres and sizes
    crop_scale: float = 0.4  # margin in half boxes; twice that below
    padding_grey: int = 110  # beyond the picture

    def __post_init__(self) -> None:
        if self.smoothing_frames % 2 == 0:
            raise ValueError(f"smoothing_frames is {self.smoothing_frames}, need an odd number")


@dataclass(frozen=True)
class FaceBox:
    """A face in a frame: left, top, right, bottom in pixels."""

    frame: int
    edges_px: NDArray[np.float64]  # [4]


@dataclass(frozen=True)
class FaceTrack:
    """One face over consecutive frames: boxes in pixels, interpolated in frames without a detection."""

    first_frame: int
    boxes_px: NDArray[np.float64]  # [F, 4]
    detections: int

    @property
    def end_frame(self) -> int:
        """Index after the last frame."""
        return self.first_frame + len(self.boxes_px)

    @property
    def face_px(self) -> float:
        """Mean of the longer side of the box."""
        return float((self.boxes_px[:, 2:] - self.boxes_px[:, :2]).mean(axis=0).max())


def link_boxes(boxes: Sequence[FaceBox], protocol: TrackProtocol) -> list[FaceTrack]:
    """Link the boxes of one shot into tracks, however short.

    Args:
        boxes: In the order of frames.
        protocol: Overlap and gap.

    Returns:
        Tracks in the order of their first frames; every box is in exactly one.
    """
    waiting = list(boxes)
    tracks: list[FaceTrack] = []
    while waiting:
        taken = [waiting.pop(0)]
        for box in list(waiting):
            last = taken[-1]
            if box.frame - last.frame > protocol.largest_gap_frames:
                break
            overlap = intersection_over_union(box.edges_px, last.edges_px)
            if box.frame > last.frame and overlap > protocol.linking_overlap:
                taken.append(box)
        chosen = {id(box) for box in taken}
        waiting = [box for box in waiting if id(box) not in chosen]
        tracks.append(interpolated(taken))
    return tracks


def interpolated(boxes: Sequence[FaceBox]) -> FaceTrack:
    """A track with a box for every frame from the first to the last, linear in between."""
    frames = np.asarray([box.frame for box in boxes])
    edges = np.stack([box.edges_px for box in boxes])
    every = np.arange(frames[0], frames[-1] + 1)
    columns = [np.interp(every, frames, edges[:, column]) for column in range(4)]
    return FaceTrack(int(frames[0]), np.stack(columns, axis=1), len(boxes))


def crop_squares(track: FaceTrack, protocol: TrackProtocol) -> NDArray[np.int64]:
    """[F, 4] left, top, right, bottom of each frame's crop in whole pixels; may reach beyond the picture.

    With b half the box's longer side and k the crop scale, medians over time of b and the centre (x, y):
    rows y - b to y + b (1 + 2 k), columns x - b (1 + k) to x + b (1 + k). The median filter is scipy's,
    which pads with zeros at both ends, as the published program does.
    """
    boxes = track.boxes_px
    half = medfilt((boxes[:, 2:] - boxes[:, :2]).max(axis=1) / 2.0, protocol.smoothing_frames)
    centre_x = medfilt((boxes[:, 0] + boxes[:, 2]) / 2.0, protocol.smoothing_frames)
    centre_y = medfilt((boxes[:, 1] + boxes[:, 3]) / 2.0, protocol.smoothing_frames)
    beside, below = half * (1.0 + protocol.crop_scale), half * (1.0 + 2.0 * protocol.crop_scale)
    edges = [centre_x - beside, centre_y - half, centre_x + beside, centre_y + below]
    return np.floor(np.stack(edges, axis=1)).astype(np.int64)


def cut_face(
    image: NDArray[np.uint8], square: NDArray[np.int64], protocol: TrackProtocol
) -> NDArray[np.uint8]:
    """Cut a crop out of a picture and resize it, bilinear.

    Args:
        image: [H, W, 3].
        square: [4] left, top, right, bottom.
        protocol: Has the grey beyond the picture.

    Returns:
        [224, 224, 3].
    """
    left, top, right, bottom = (int(edge) for edge in square)
    height, width = image.shape[:2]
    crop = np.full((max(1, bottom - top), max(1, right - left), 3), protocol.padding_grey, np.uint8)
    rows, columns = slice(max(0, top), min(height, bottom)), slice(max(0, left), min(width, right))
    inside = (
        image[rows, columns] if rows.stop > rows.start and columns.stop > columns.start else image[:0, :0]
    )
    if inside.size:
        placed = crop[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        placed[:] = inside
    side = (VIDEO_SIDE_PX, VIDEO_SIDE_PX)
    return np.asarray(cv2.resize(crop, side, interpolation=cv2.INTER_LINEAR), np.uint8)
