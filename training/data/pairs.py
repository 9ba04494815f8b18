"""Which frames a row drives and shows: driving frames balanced over events, appearance frames far from them.

Frames of one clip, drawn uniformly, mostly look alike: heads turn by a few degrees within 2.5 s, and eyes are
shut in one frame of twenty. The labels choose which frames are drawn; no loss reads them here.
"""

from collections import OrderedDict
from typing import Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.schema import LANDMARK_COUNT
from storage.settings import Settings
from training.data.batches import RowFacts
from training.data.draws import draw_other
from training.data.index import ClipIndex
from training.data.shard_reader import ShardReader

AppearanceFrom = Literal["identity", "video", "clip"]

# Change that counts as 1 in the distance of two frames. A turn of 11 degrees, a glance of as much and a
# mouth opened halfway count alike; the eyes' state counts least, or the appearance would show shut eyes.
ANGLE_SCALE_RAD: Final = 0.2
GAZE_SCALE_RAD: Final = 0.2
MOUTH_SCALE: Final = 0.15  # gap of the inner lips over the distance of the eyes' outer corners
BLINK_SCALE: Final = 1.0
EVENT_FLOOR: Final = 0.02  # weight of a frame without the event, against 1 for a whole one
CLIPS_KEPT: Final = 4096  # whose labels a worker caches, 2 KB each

_INNER_LIPS: Final = (13, 14)  # MediaPipe's mesh: upper and lower, in the middle
_EYES_OUTER_CORNERS: Final = (33, 263)


class PairSettings(Settings):
    """How the driving and the appearance frame are drawn; all of it ours."""

    minimum_gap_frames: int = Field(
        default=1,
        ge=0,
        description="Minimum distance of appearance and driving frame of one clip, if it is long enough",
    )
    appearance_from: AppearanceFrom = Field(
        default="identity",
        description="Clip of the appearance frame. identity: another one of the video, else of the identity, "
        "else the same; video: another one of the video, else the same; clip: the same",
    )
    prefer_apart: int = Field(
        default=4,
        ge=1,
        description="Appearance frames drawn, of which the farthest from the driving one in pose, gaze, "
        "mouth and eyes is taken; 1: no choice",
    )
    balance_events: bool = Field(
        default=True,
        description="Draw every second driving frame by how shut its eyes, or how unusual its gaze or mouth "
        "are in its clip; otherwise all uniformly",
    )


class FrameState(NamedTuple):
    """Labels of a clip's frames in units of the scales above."""

    position: NDArray[np.float64]  # [T, 7] pitch, yaw, roll, gaze pitch, gaze yaw, mouth, blink
    events: NDArray[np.float64]  # [3, T] shut eyes, unusual gaze, unusual mouth; 0 to 1


class PairDraws:
    """Draws driving and appearance frames of an index's clips.

    All draws come from the given generator and the labels, so a row is the same whatever reads it.
    """

    def __init__(self, index: ClipIndex, settings: PairSettings) -> None:
        self._settings = settings
        self._frame_counts = index.frame_counts
        # Sorted by identity, then video: the clips of either are neighbours.
        identities, videos = _codes(index.identity_column), _codes(index.video_column)
        self._sorted = np.lexsort((videos, identities))
        self._place = np.argsort(self._sorted)
        self._identity_bounds = _runs(identities[self._sorted])
        # A video may show several people.
        self._video_bounds = _runs((identities * (videos.max() + 1) + videos)[self._sorted])
        self._states = OrderedDict[int, FrameState]()

    def driving(
        self, reader: ShardReader, clip: int, rng: np.random.Generator, margin_frames: int = 0
    ) -> int:
        """A frame of the clip that is at least `margin_frames` from both ends."""
        first, end = margin_frames, int(self._frame_counts[clip]) - margin_frames
        if not self._settings.balance_events or rng.random() < 0.5:
            return int(rng.integers(first, end))
        kind = int(rng.integers(3))
        weights = EVENT_FLOOR + self._state(reader, clip).events[kind, first:end]
        return first + int(rng.choice(end - first, p=weights / weights.sum()))

    def appearance(
        self, reader: ShardReader, clip: int, driving: int, rng: np.random.Generator, facts: RowFacts
    ) -> tuple[int, int]:
        """Clip and frame of the appearance: of `prefer_apart` frames the farthest from the driving one.

        Of the same clip where the other one is unreadable (`facts.corrupt`): it may be the only other one.
        """
        other = self._other_clip(clip, rng)
        if reader.index.key(other) in {member.key for member in facts.corrupt}:
            other = clip
        frames = int(self._frame_counts[other])
        gap = self._settings.minimum_gap_frames
        drawn = [
            draw_other(frames, driving, gap, rng) if other == clip else int(rng.integers(frames))
            for _ in range(self._settings.prefer_apart)
        ]
        if len(drawn) == 1:
            return other, drawn[0]
        here = self._state(reader, clip).position[driving]
        distances = np.linalg.norm(self._state(reader, other).position[drawn] - here, axis=1)
        return other, drawn[int(distances.argmax())]

    def _other_clip(self, clip: int, rng: np.random.Generator) -> int:
        place = int(self._place[clip])
        bounds = {
            "clip": (),
            "video": (self._video_bounds,),
            "identity": (self._video_bounds, self._identity_bounds),
        }[self._settings.appearance_from]
        for first, end in (bound[place] for bound in bounds):
            if end - first > 1:
                step = int(rng.integers(end - first - 1))
                return int(self._sorted[first + step + (first + step >= place)])
        return clip

    def _state(self, reader: ShardReader, clip: int) -> FrameState:
        if clip not in self._states:
            self._states[clip] = read_state(reader, clip)
            if len(self._states) > CLIPS_KEPT:
                self._states.popitem(last=False)
        self._states.move_to_end(clip)
        return self._states[clip]


def read_state(reader: ShardReader, clip: int) -> FrameState:
    """Read the labels of a clip's frames."""
    frames = int(reader.index.frame_counts[clip])

    def label(member: str, *shape: int) -> NDArray[np.float32]:
        return reader.rows(clip, member, (frames, *shape), 0, frames)

    angles, gaze = label("pose.npy", 6)[:, :3] / ANGLE_SCALE_RAD, label("gaze.npy", 2) / GAZE_SCALE_RAD
    blink = label("blink.npy", 2)
    mouth = mouth_opening(label("landmarks.npy", LANDMARK_COUNT, 3)) / MOUTH_SCALE
    position = np.concatenate(
        [angles, gaze, mouth[:, None], blink.mean(axis=1, keepdims=True) / BLINK_SCALE], axis=1
    )
    unusual = (
        blink.max(axis=1),
        np.linalg.norm(gaze - np.median(gaze, axis=0), axis=1),
        np.abs(mouth - np.median(mouth)),
    )
    return FrameState(position.astype(np.float64), np.minimum(np.stack(unusual), 1.0).astype(np.float64) ** 2)


def mouth_opening(landmarks_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """[T] gap of the inner lips over the distance of the eyes' outer corners, in 3-D, of [T, 478, 3]."""

    def distance_px(first: int, second: int) -> NDArray[np.float32]:
        return np.linalg.norm(landmarks_px[:, first] - landmarks_px[:, second], axis=1)

    eyes_px = np.maximum(distance_px(*_EYES_OUTER_CORNERS), 1.0)
    return np.asarray(distance_px(*_INNER_LIPS) / eyes_px, np.float32)


def _codes(names: pa.StringArray) -> NDArray[np.int64]:
    """[N] equal numbers for equal names."""
    return names.dictionary_encode().indices.to_numpy().astype(np.int64)


def _runs(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N, 2] first and end of the run of equal values that each of N sorted values is in."""
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    ends = np.r_[starts[1:], len(values)]
    run = np.searchsorted(starts, np.arange(len(values)), side="right") - 1
    return np.stack([starts[run], ends[run]], axis=1)
