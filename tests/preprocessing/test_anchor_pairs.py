import dataclasses
import math

import numpy as np
import pytest

from preprocessing.anchor_pairs import (
    OPEN,
    SHUT,
    UNSURE,
    EyeState,
    Pair,
    PairSettings,
    choose_pairs,
    eye_kinds,
)

SETTINGS = PairSettings()
FRAMES = 8


def state(
    key: str,
    identity: str,
    *,
    yaw_deg: float = 0.0,
    gaze_deg: float = 0.0,
    blink: float = 0.0,
    z_cm: float = 0.0,
) -> EyeState:
    """A clip that holds still."""
    pose = np.zeros((FRAMES, 6), np.float32)
    pose[:, 1], pose[:, 5] = math.radians(yaw_deg), z_cm
    gaze = np.zeros((FRAMES, 2), np.float32)
    gaze[:, 1] = math.radians(gaze_deg)
    return EyeState(
        key,
        identity,
        pose,
        gaze,
        np.full((FRAMES, 2), blink, np.float32),
        np.full(FRAMES, blink < 0.6),
    )


def partner_keys(pairs: list[Pair]) -> set[str]:
    return {key for pair in pairs for key, _ in pair.partners}


def test_partners_are_other_persons_turned_alike_with_eyes_elsewhere_or_shut() -> None:
    states = [
        state("v2", "Ann"),
        state("same-person", "Ann", gaze_deg=20.0),
        state("looks-elsewhere", "Bob", gaze_deg=12.0),
        state("shut", "Cid", blink=0.9),
        state("looks-alike", "Dan", gaze_deg=8.0),
        state("turned", "Eve", yaw_deg=15.0, gaze_deg=20.0),
        state("half-shut", "Fay", blink=0.55),
        state("far-away", "Gus", gaze_deg=20.0, z_cm=-30.0),
    ]
    pairs = choose_pairs(states, SETTINGS, anchors_per_clip=2, attempts=8)
    assert partner_keys(pairs["v2"]) == {"looks-elsewhere", "shut"}
    assert len(pairs["v2"]) == 2
    # By turns, one frame tries a look elsewhere first and the other a shut eye.
    assert {pair.partners[0][0] for pair in pairs["v2"]} == {"looks-elsewhere", "shut"}


def test_a_shut_frame_is_paired_with_open_eyes_only() -> None:
    states = [state("v2", "Ann", blink=1.0), state("open", "Bob"), state("shut", "Cid", blink=0.9)]
    assert partner_keys(choose_pairs(states, SETTINGS, 1, 8)["v2"]) == {"open"}


def test_one_identity_pairs_within_itself_and_two_do_not() -> None:
    alone = [state("a", "Ann"), state("b", "Ann", gaze_deg=15.0)]
    assert partner_keys(choose_pairs(alone, SETTINGS, 1, 3)["a"]) == {"b"}
    assert choose_pairs([*alone, state("c", "Bob")], SETTINGS, 1, 3).get("a") is None
    within = dataclasses.replace(SETTINGS, across_identities=False)
    assert partner_keys(choose_pairs([*alone, state("c", "Bob")], within, 1, 3)["a"]) == {"b"}


def test_no_clips_make_no_pairs_and_attempts_bound_the_partners() -> None:
    assert choose_pairs([], SETTINGS, 2, 3) == {}
    others = [state(f"o{number}", f"P{number}", gaze_deg=15.0) for number in range(9)]
    (pair,) = choose_pairs([state("v2", "Ann"), *others], SETTINGS, 1, 3)["v2"]
    assert len(pair.partners) == len({key for key, _ in pair.partners}) == 3


def test_the_seed_decides_and_nothing_else() -> None:
    others = [state(f"o{number}", f"P{number}", gaze_deg=15.0) for number in range(9)]
    states = [state("v2", "Ann"), *others]
    first = choose_pairs(states, SETTINGS, 2, 3)
    assert choose_pairs(states, SETTINGS, 2, 3) == first
    assert choose_pairs(states, dataclasses.replace(SETTINGS, seed=1), 2, 3) != first


def test_frames_v2_do_not_depend_on_the_other_clips() -> None:
    mine, other = state("v2", "Ann"), state("o", "Bob", gaze_deg=15.0)
    more = [state(f"o{number}", f"P{number}", gaze_deg=15.0) for number in range(5)]
    few = choose_pairs([mine, other], SETTINGS, 2, 1)["v2"]
    many = choose_pairs([mine, other, *more], SETTINGS, 2, 1)["v2"]
    assert {pair.base_frame for pair in few} == {pair.base_frame for pair in many}


def test_partners_vary_over_a_batch() -> None:
    others = [state(f"o{number}", f"P{number}", gaze_deg=15.0) for number in range(9)]
    bases = [state(f"v{number}", f"B{number}") for number in range(20)]
    pairs = choose_pairs([*bases, *others], SETTINGS, 1, 1)
    used = [pairs[base.key][0].partners[0][0] for base in bases]
    assert len(set(used)) >= 6


@pytest.mark.parametrize(
    ("blink", "seen", "gaze_deg", "expected"),
    [
        ([0.0, 0.1, 0.2], True, [0.0, 1.0, 2.0], OPEN),
        ([0.0, 0.1, 0.2], False, [0.0, 1.0, 2.0], UNSURE),  # the gaze was bridged over
        ([0.0, 0.1, 0.5], True, [0.0, 1.0, 2.0], UNSURE),  # the lids are on their way
        ([0.0, 0.1, 0.2], True, [0.0, 1.0, 9.0], UNSURE),  # the gaze jumps
        ([0.3, 0.5, 0.5], True, [0.0, 0.0, 0.0], UNSURE),  # half shut
        ([0.8, 0.9, 1.0], False, [0.0, 9.0, 0.0], SHUT),
        ([0.6, 0.9, 1.0], False, [0.0, 0.0, 0.0], UNSURE),  # still shutting
    ],
)
def test_only_surely_labelled_middle_frames_take_part(
    blink: list[float], seen: bool, gaze_deg: list[float], expected: int
) -> None:
    clip = EyeState(
        "k",
        "Ann",
        np.zeros((3, 6), np.float32),
        np.radians(np.column_stack([gaze_deg, np.zeros(3)])).astype(np.float32),
        np.column_stack([blink, blink]).astype(np.float32),
        np.array([seen] * 3),
    )
    assert eye_kinds(clip, SETTINGS)[1] == expected


def test_one_shut_eye_is_unsure() -> None:
    clip = state("k", "Ann")
    clip.blink[:, 1] = 0.9
    assert (eye_kinds(clip, SETTINGS) == UNSURE).all()
