"""Choosing v1 for v2: another person, a head turned alike, eyes in another state; seeded."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

CANDIDATE_EVERY_FRAMES: Final = 4  # neighbouring frames show the same eyes
SHUFFLED_NEAREST: Final = 16  # partners are drawn among the nearest in pose, for variety


@dataclass(frozen=True)
class PairSettings:
    """Which frames go together."""

    seed: int = 0
    maximum_pose_distance_rad: float = math.radians(12.0)
    minimum_gaze_distance_rad: float = math.radians(8.0)
    minimum_blink_distance: float = 0.5  # either eyes look elsewhere, or they are open and shut
    across_identities: bool = True


@dataclass(frozen=True)
class EyeState:
    """Labels of one clip."""

    key: str
    identity: str
    pose: NDArray[np.float32]  # [T, 6]
    gaze: NDArray[np.float32]  # [T, 2]
    blink: NDArray[np.float32]  # [T, 2]


@dataclass(frozen=True)
class Pair:
    """A frame v2 and the frames that may lend it their eyes, in the order to try them."""

    base_frame: int
    partners: tuple[tuple[str, int], ...]  # (clip key, frame)


def choose_pairs(
    states: Sequence[EyeState], settings: PairSettings, anchors_per_clip: int, attempts: int
) -> dict[str, list[Pair]]:
    """Pairs of every clip that has any, by key.

    A batch that holds one identity only pairs within it; the two frames then differ in clip or time.
    """
    if not states:
        return {}
    pool = _Pool(states)
    cross = settings.across_identities and len({state.identity for state in states}) > 1
    chosen: dict[str, list[Pair]] = {}
    for state in states:
        random = np.random.default_rng(_seed(settings.seed, state.key))
        frames = random.permutation(len(state.pose))[:anchors_per_clip]
        pairs = []
        for frame in sorted(int(frame) for frame in frames):
            partners = pool.partners(state, frame, settings, cross, attempts, random)
            if partners:
                pairs.append(Pair(frame, partners))
        if pairs:
            chosen[state.key] = pairs
    return chosen


class _Pool:
    """Every fourth frame of the batch, as arrays."""

    def __init__(self, states: Sequence[EyeState]) -> None:
        steps = [np.arange(0, len(state.pose), CANDIDATE_EVERY_FRAMES) for state in states]
        self.frames = np.concatenate(steps)
        self.clip = np.repeat(np.arange(len(states)), [len(step) for step in steps])
        self.keys = [state.key for state in states]
        self.identities = np.array([state.identity for state in states])[self.clip]
        parts = list(zip(states, steps, strict=True))
        self.angles = np.concatenate([state.pose[step, :3] for state, step in parts])
        self.gaze = np.concatenate([state.gaze[step] for state, step in parts])
        self.blink = np.concatenate([state.blink[step] for state, step in parts])

    def partners(
        self,
        state: EyeState,
        frame: int,
        settings: PairSettings,
        cross: bool,
        attempts: int,
        random: np.random.Generator,
    ) -> tuple[tuple[str, int], ...]:
        pose_distance = np.linalg.norm(self.angles - state.pose[frame, :3], axis=1)
        gaze_distance = np.linalg.norm(self.gaze - state.gaze[frame], axis=1)
        blink_distance = np.abs(self.blink - state.blink[frame]).mean(axis=1)
        shut = self.blink.max(axis=1) > 0.5
        eyes_differ = blink_distance >= settings.minimum_blink_distance
        eyes_differ |= ~shut & (gaze_distance >= settings.minimum_gaze_distance_rad)
        fits = eyes_differ & (pose_distance <= settings.maximum_pose_distance_rad)
        fits &= (self.identities != state.identity) == cross
        nearest = np.flatnonzero(fits)
        nearest = nearest[np.argsort(pose_distance[nearest], kind="stable")][:SHUFFLED_NEAREST]
        picked = random.permutation(nearest)[:attempts]
        return tuple((self.keys[self.clip[place]], int(self.frames[place])) for place in picked)


def _seed(seed: int, key: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big")
