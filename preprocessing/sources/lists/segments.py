"""The part of a video that a row of a list names: when, which face, who, and its labels."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from preprocessing.schema import FRAMES_PER_SECOND

Box = tuple[float, float, float, float]  # left, top, right, bottom
FACE_MARGIN: Final = 0.25  # of the box, around it: corpora draw boxes by other detectors
POINT_REACH: Final = 0.5  # face sizes: how far from the face's middle a point may be
END: Final = 2**62  # frames: after any video's end
_ROUNDING: Final = 1e-6  # frames


@dataclass(frozen=True)
class Segment:
    """An accepted row of a list."""

    row: int  # in its list, from 1
    first_frame: int  # on the 25 fps grid
    end_frame: int  # after the last; `END`: to the video's end
    identity: str
    face: Box | None = None  # shares of the picture if all are <= 1, else px
    track: tuple[tuple[float, float, float, float, float], ...] = ()  # seconds and box, by time
    labels: str = "{}"  # JSON object

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the video, with its largest face and without labels."""
        return (self.first_frame, self.end_frame, self.face, self.track, self.labels) == (
            0,
            END,
            None,
            (),
            "{}",
        )

    @property
    def annotations(self) -> dict[str, Any]:
        """The labels by name."""
        return json.loads(self.labels)

    def box_at(self, frame: int) -> Box | None:
        """Where the face is in a frame: interpolated on the track, or the box of all frames."""
        if not self.track:
            return self.face
        seconds = [box[0] for box in self.track]
        sides = [
            np.interp(frame / FRAMES_PER_SECOND, seconds, [box[side] for box in self.track])
            for side in (1, 2, 3, 4)
        ]
        return (float(sides[0]), float(sides[1]), float(sides[2]), float(sides[3]))

    def shows(
        self, frame: int, middle: tuple[float, float], size_px: float, picture: tuple[int, int]
    ) -> bool:
        """Whether a face is the listed one.

        Args:
            frame: of the face, on the 25 fps grid.
            middle: x and y of the face's middle in the source, px.
            size_px: the face's longer side.
            picture: width and height of the displayed source, px.
        """
        box = self.box_at(frame)
        if box is None:
            return True
        scale = picture if max(map(abs, box)) <= 1.0 else (1, 1)
        left, top, right, bottom = box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1]
        if (left, top) == (right, bottom):
            return math.dist(middle, (left, top)) <= POINT_REACH * size_px
        across, down = FACE_MARGIN * (right - left), FACE_MARGIN * (bottom - top)
        return left - across <= middle[0] <= right + across and top - down <= middle[1] <= bottom + down


def segment_of(row: Mapping[str, Any]) -> Segment:
    """The segment of an accepted row of a list's table."""
    start, end = row["start_seconds"], row["end_seconds"]
    track = json.loads(row["track"]) if row["track"] else []
    return Segment(
        row=row["row"],
        first_frame=0 if start is None else frame_at(start),
        end_frame=END if end is None else frame_at(end),
        identity=row["identity"],
        face=None if row["face"] is None else tuple(row["face"]),
        track=tuple(tuple(box) for box in track),
        labels=row["labels"],
    )


def frame_at(seconds: float) -> int:
    """The first frame that is not before a time."""
    return math.ceil(seconds * FRAMES_PER_SECOND - _ROUNDING)


def spans_of(segments: Sequence[Segment]) -> tuple[tuple[int, int], ...]:
    """The pieces of a video within which the same segments hold: first and end frame, in order.

    () where all of the video is one piece.
    """
    marks = sorted({mark for segment in segments for mark in (segment.first_frame, segment.end_frame)})
    spans = tuple(
        (first, end)
        for first, end in pairwise(marks)
        if any(segment.first_frame <= first and end <= segment.end_frame for segment in segments)
    )
    return () if spans == ((0, END),) else spans


def facts_of(segments: Iterable[Segment]) -> list[Any]:
    """What a step that reads segments depends on, for its fingerprint."""
    return [
        [
            each.first_frame,
            each.end_frame,
            each.identity,
            each.face and list(each.face),
            [list(b) for b in each.track],
            each.labels,
        ]
        for each in segments
    ]
