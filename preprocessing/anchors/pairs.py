"""Chooses v1 for v2: a similar head pose, other eyes, of the same identity or another; seeded.

A share of a clip's anchors takes v1 from the same identity; those never cross splits. The rest crosses
identities, which separates the eyes' state from whose eyes they are.

Only frames with reliable eye labels are used: clearly open with a measured gaze, or clearly shut, and still
between neighbouring frames.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.faces.shape.frame_of_reference import REFERENCE_DISTANCE_CM
from storage.settings import Settings

UNSURE, OPEN, SHUT = 0, 1, 2
CANDIDATE_EVERY_FRAMES: Final = 2  # neighbouring frames are nearly equal
MAXIMUM_CANDIDATES: Final = 16_384  # frames of a batch offered as v1; bounds the cost of a pair
TRIES_PER_ANCHOR: Final = 4  # frames v2 tried before a clip gets fewer anchors
SHUFFLED_NEAREST: Final = 16  # clips nearest in pose, shuffled for variety


class PairSettings(Settings):
    """Which frames are paired."""

    seed: int = Field(default=0, ge=0, description="Seed of the order in which eye donors are tried")
    maximum_pose_distance_rad: float = Field(
        default=math.radians(12.0),
        ge=0.0,
        le=1.57,
        description="Maximum rotation between the heads of a pair",
    )
    maximum_size_ratio: float = Field(
        default=1.25,
        ge=1.0,
        le=4.0,
        description="Maximum ratio of the two heads' distances from the crop camera",
    )
    minimum_gaze_distance_rad: float = Field(
        default=math.radians(10.0),
        ge=0.0,
        le=1.57,
        description="Minimum gaze difference of a pair with open eyes",
    )
    minimum_blink_distance: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Minimum blink difference of a pair of open and shut eyes",
    )
    open_below_blink: float = Field(
        default=0.4, ge=0.0, le=1.0, description="Blink value of both eyes below which they are open"
    )
    shut_above_blink: float = Field(
        default=0.7, ge=0.0, le=1.0, description="Blink value of both eyes above which they are shut"
    )
    maximum_blink_step: float = Field(
        default=0.25,
        ge=0.0,
        le=1.0,
        description="Maximum blink change to a neighbouring frame; more means that the lids are moving",
    )
    maximum_gaze_step_rad: float = Field(
        default=math.radians(4.0),
        ge=0.0,
        le=1.57,
        description="Maximum gaze change of open eyes to a neighbouring frame; more is a saccade",
    )
    within_identity_share: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Share of a clip's anchors with eyes of the same identity, from another clip if "
        "possible; falls back to the other kind where no donor fits",
    )
    minimum_gap_frames: int = Field(
        default=12, ge=1, description="Minimum distance of two paired frames of one clip"
    )


@dataclass(frozen=True)
class EyeState:
    """Labels of one clip."""

    key: str
    identity: str
    pose: NDArray[np.float32]  # [T, 6]
    gaze: NDArray[np.float32]  # [T, 2]
    blink: NDArray[np.float32]  # [T, 2]
    gaze_seen: NDArray[np.bool_]  # [T] False where the gaze is interpolated over a blink


@dataclass(frozen=True)
class Pair:
    """A frame v2 and candidate frames v1, in the order to try them."""

    base_frame: int
    partners: tuple[tuple[str, int], ...]  # (clip key, frame)
    fell_back: bool = False  # no v1 of the intended kind (within or across identities) fits


def eye_kinds(state: EyeState, settings: PairSettings) -> NDArray[np.int8]:
    """[T] OPEN, SHUT, or UNSURE: half shut, moving, one eye shut, or open without a measured gaze."""
    steady = _largest_step(state.blink[:, :1], state.blink[:, 1:]) <= settings.maximum_blink_step
    still = _largest_step(state.gaze) <= settings.maximum_gaze_step_rad
    is_open = (state.blink.max(axis=1) <= settings.open_below_blink) & state.gaze_seen & steady & still
    is_shut = (state.blink.min(axis=1) >= settings.shut_above_blink) & steady
    return np.where(is_open, OPEN, np.where(is_shut, SHUT, UNSURE)).astype(np.int8)


def choose_pairs(
    states: Sequence[EyeState], settings: PairSettings, anchors_per_clip: int, attempts: int
) -> dict[str, list[Pair]]:
    """Pairs of every clip that has any, by key.

    Frames v2 are drawn at random, seeded by the clip's key and the seed, as is the rounding of the share
    within the identity. Partners alternately differ in gaze first or in open against shut first. Each partner
    of a frame is of another clip; within the identity, frames of the clip itself are tried last.

    Args:
        states: labels of the batch's clips.
        settings: which frames are paired.
        anchors_per_clip: maximum of frames v2 of a clip.
        attempts: maximum of partners of a frame.
    """
    if not states:
        return {}
    kinds = {state.key: eye_kinds(state, settings) for state in states}
    pool = _Pool(states, kinds, settings)
    chosen: dict[str, list[Pair]] = {}
    for state in states:
        rng = np.random.default_rng(_seed(settings.seed, state.key))
        sure = np.flatnonzero(kinds[state.key] != UNSURE)
        turn = int(rng.integers(2))
        within_count = math.floor(settings.within_identity_share * anchors_per_clip + rng.random())
        frames: list[int] = rng.permutation(sure)[: TRIES_PER_ANCHOR * anchors_per_clip].tolist()
        pairs: list[Pair] = []
        for number in range(anchors_per_clip):
            within_first = number < within_count
            gaze_first = (turn + number) % 2 == 0
            for within in (within_first, not within_first):
                pair = _first_pair(pool, state, kinds[state.key], frames, within, gaze_first, rng)
                if pair is not None:
                    base_frame, partners = pair
                    frames.remove(base_frame)
                    pairs.append(Pair(base_frame, partners[:attempts], fell_back=within != within_first))
                    break
        if pairs:
            chosen[state.key] = sorted(pairs, key=lambda pair: pair.base_frame)
    return chosen


class _Pool:
    """The candidate frames v1 of a batch, as arrays."""

    def __init__(
        self, states: Sequence[EyeState], kinds: Mapping[str, NDArray[np.int8]], settings: PairSettings
    ) -> None:
        self._settings = settings
        self._keys = np.array([state.key for state in states])
        steps = [np.flatnonzero(kinds[state.key] != UNSURE)[::CANDIDATE_EVERY_FRAMES] for state in states]
        clip = np.repeat(np.arange(len(states)), [len(step) for step in steps])
        frames = np.concatenate(steps)
        kept = np.sort(np.random.default_rng(settings.seed).permutation(len(frames))[:MAXIMUM_CANDIDATES])
        self._clip, self._frames = clip[kept], frames[kept]
        parts = list(zip(states, steps, strict=True))
        self._identities = np.array([state.identity for state in states])[self._clip]
        self._kind = np.concatenate([kinds[state.key][step] for state, step in parts])[kept]
        pose = np.concatenate([state.pose[step] for state, step in parts])[kept]
        self._angles, self._distance_cm = pose[:, :3], REFERENCE_DISTANCE_CM - pose[:, 5]
        self._gaze = np.concatenate([state.gaze[step] for state, step in parts])[kept]
        self._blink = np.concatenate([state.blink[step] for state, step in parts])[kept]

    def partners(
        self,
        state: EyeState,
        frame: int,
        kind: int,
        within: bool,
        gaze_first: bool,
        rng: np.random.Generator,
    ) -> tuple[tuple[str, int], ...]:
        """Candidate frames v1 of a frame v2, in the order to try them."""
        settings = self._settings
        pose_distance = np.linalg.norm(self._angles - state.pose[frame, :3], axis=1)
        ratio = self._distance_cm / (REFERENCE_DISTANCE_CM - state.pose[frame, 5])
        similar = pose_distance <= settings.maximum_pose_distance_rad
        similar &= np.maximum(ratio, 1.0 / ratio) <= settings.maximum_size_ratio
        similar &= (self._identities == state.identity) == within
        is_own = self._keys[self._clip] == state.key
        similar &= ~is_own | (np.abs(self._frames - frame) >= settings.minimum_gap_frames)
        gaze_distance = np.linalg.norm(self._gaze - state.gaze[frame], axis=1)
        blink_distance = np.abs(self._blink - state.blink[frame]).min(axis=1)
        other_gaze = similar & (self._kind == OPEN) & (kind == OPEN)
        other_gaze &= gaze_distance >= settings.minimum_gaze_distance_rad
        other_blink = similar & (self._kind != kind) & (blink_distance >= settings.minimum_blink_distance)
        order = (other_gaze, other_blink) if gaze_first else (other_blink, other_gaze)
        tiers = [fits & clips for clips in (~is_own, is_own) for fits in order]
        picked = np.concatenate([self._draw(np.flatnonzero(fits), pose_distance, rng) for fits in tiers])
        return tuple((str(self._keys[self._clip[place]]), int(self._frames[place])) for place in picked)

    def _draw(
        self, places: NDArray[np.int64], pose_distance: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """The best frame of each of the clips nearest in pose, shuffled."""
        nearest = places[np.argsort(pose_distance[places], kind="stable")]
        _, first = np.unique(self._clip[nearest], return_index=True)
        return rng.permutation(nearest[np.sort(first)][:SHUFFLED_NEAREST])


def _first_pair(
    pool: _Pool,
    state: EyeState,
    kinds: NDArray[np.int8],
    frames: Sequence[int],
    within: bool,
    gaze_first: bool,
    rng: np.random.Generator,
) -> tuple[int, tuple[tuple[str, int], ...]] | None:
    """The first frame v2 with partners of the kind, and its partners; None if there is none."""
    for frame in frames:
        partners = pool.partners(state, frame, int(kinds[frame]), within, gaze_first, rng)
        if partners:
            return frame, partners
    return None


def _largest_step(*columns: NDArray[np.float32]) -> NDArray[np.float64]:
    """[T] largest distance to a neighbouring frame, over the [T, N] columns."""
    steps = [np.linalg.norm(np.diff(column, axis=0), axis=1) for column in columns]
    between = np.concatenate([[0.0], np.max(steps, axis=0), [0.0]])
    return np.maximum(between[:-1], between[1:])


def _seed(seed: int, key: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big")
