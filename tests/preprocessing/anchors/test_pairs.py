import math
from collections.abc import Mapping

import numpy as np
import pytest

from preprocessing.anchors.pairs import (
    OPEN,
    SHUT,
    UNSURE,
    EyeState,
    Pair,
    PairSettings,
    choose_pairs,
    eye_kinds,
)

ACROSS = PairSettings(within_identity_share=0.0)
WITHIN = PairSettings(within_identity_share=1.0)
FRAMES = 8  # fewer than two frames of one clip must be apart


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


def eyes_of_ann(pairs: Mapping[str, list[Pair]], states: list[EyeState]) -> int:
    """How many pairs take their eyes from a clip of Ann."""
    anns = {each.key for each in states if each.identity == "Ann"}
    return sum(partner_keys([pair]) <= anns for of_clip in pairs.values() for pair in of_clip)


def test_partners_across_identities_fit_pose_and_eyes() -> None:
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
    pairs = choose_pairs(states, ACROSS, anchors_per_clip=2, attempts=8)
    assert partner_keys(pairs["v2"]) == {"looks-elsewhere", "shut"}
    assert len(pairs["v2"]) == 2
    # By turns, one frame tries a look elsewhere first and the other a shut eye.
    assert {pair.partners[0][0] for pair in pairs["v2"]} == {"looks-elsewhere", "shut"}


def test_shut_frames_pair_with_open_eyes_only() -> None:
    states = [state("v2", "Ann", blink=1.0), state("open", "Bob"), state("shut", "Cid", blink=0.9)]
    assert partner_keys(choose_pairs(states, ACROSS, 1, 8)["v2"]) == {"open"}


def test_partners_within_the_identity_fit_pose_and_eyes() -> None:
    states = [
        state("v2", "Ann"),
        state("looks-elsewhere", "Ann", gaze_deg=12.0),
        state("shut", "Ann", blink=0.9),
        state("looks-alike", "Ann", gaze_deg=8.0),
        state("turned", "Ann", yaw_deg=15.0, gaze_deg=20.0),
        state("far-away", "Ann", gaze_deg=20.0, z_cm=-30.0),
        state("other-person", "Bob", gaze_deg=20.0),
    ]
    pairs = choose_pairs(states, WITHIN, anchors_per_clip=2, attempts=8)["v2"]
    assert partner_keys(pairs) == {"looks-elsewhere", "shut"}
    assert [pair.fell_back for pair in pairs] == [False, False]


def test_two_anchors_are_within_and_across_the_identity() -> None:
    states = [
        *(state(f"a{number}", "Ann", gaze_deg=15.0 * (number % 2)) for number in range(4)),
        *(state(f"b{number}", "Bob", gaze_deg=15.0 * (number % 2)) for number in range(4)),
    ]
    pairs = choose_pairs(states, PairSettings(), 2, 3)
    for each in states:
        alike = [next(iter(partner_keys([pair])))[0] == each.key[0] for pair in pairs[each.key]]
        assert sorted(alike) == [False, True]
    assert not any(pair.fell_back for of_clip in pairs.values() for pair in of_clip)


@pytest.mark.parametrize(("share", "anchors", "fewest", "most"), [(0.5, 1, 8, 32), (0.25, 2, 8, 32)])
def test_fractional_shares_are_rounded_at_random(share: float, anchors: int, fewest: int, most: int) -> None:
    # 40 clips of Ann, each lends to the others; half of a pair each is due within: 20 expected, s.d. 3.2.
    states = [state(f"a{number:02d}", "Ann", gaze_deg=15.0 * (number % 2)) for number in range(40)]
    states += [state("b0", "Bob"), state("b1", "Bob", gaze_deg=15.0)]
    settings = PairSettings(within_identity_share=share)
    pairs = {key: of for key, of in choose_pairs(states, settings, anchors, 3).items() if key[0] == "a"}
    assert sum(map(len, pairs.values())) == 40 * anchors
    assert fewest < eyes_of_ann(pairs, states) < most


def test_kind_without_partners_falls_back_to_the_other() -> None:
    alone = [state("a", "Ann"), state("b", "Ann", gaze_deg=15.0)]
    strangers = [state("c", "Ann"), state("d", "Bob", gaze_deg=15.0)]
    for settings, states, partner in ((ACROSS, alone, "b"), (WITHIN, strangers, "d")):
        (pair,) = choose_pairs(states, settings, 1, 3)[states[0].key]
        assert partner_keys([pair]) == {partner}
        assert pair.fell_back
    within, across = choose_pairs(alone, WITHIN, 2, 3)["a"], choose_pairs(alone, PairSettings(), 2, 3)["a"]
    assert [pair.fell_back for pair in within] == [False, False]
    assert sorted(pair.fell_back for pair in across) == [False, True]


def test_own_clip_is_the_last_resort() -> None:
    gaze = np.zeros((40, 2), np.float32)
    gaze[20:, 1] = math.radians(15.0)
    clip = EyeState(
        "a", "Ann", np.zeros((40, 6), np.float32), gaze, np.zeros((40, 2), np.float32), np.full(40, True)
    )
    settings = WITHIN.replace(minimum_gap_frames=30)
    for pair in choose_pairs([clip], settings, 8, 3)["a"]:
        ((key, frame),) = pair.partners
        assert key == "a"
        assert abs(frame - pair.base_frame) >= 30
    pairs = choose_pairs([clip, state("b", "Ann", gaze_deg=-15.0)], settings, 8, 3)["a"]
    assert {pair.partners[0][0] for pair in pairs} == {"b"}
    assert "a" in partner_keys(pairs)


@pytest.mark.parametrize("wrong", [{"within_identity_share": 1.1}, {"minimum_gap_frames": 0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ACROSS.replace(**wrong)


def test_no_clips_make_no_pairs() -> None:
    assert choose_pairs([], ACROSS, 2, 3) == {}
    others = [state(f"o{number}", f"P{number}", gaze_deg=15.0) for number in range(9)]
    (pair,) = choose_pairs([state("v2", "Ann"), *others], ACROSS, 1, 3)["v2"]
    assert len(pair.partners) == len({key for key, _ in pair.partners}) == 3


def test_pairs_depend_on_the_seed_alone() -> None:
    others = [state(f"o{number}", f"P{number}", gaze_deg=15.0) for number in range(9)]
    states = [state("v2", "Ann"), *others]
    first = choose_pairs(states, ACROSS, 2, 3)
    assert choose_pairs(states, ACROSS, 2, 3) == first
    assert choose_pairs(states, ACROSS.replace(seed=1), 2, 3) != first


def test_frames_v2_do_not_depend_on_the_other_clips() -> None:
    mine, other = state("v2", "Ann"), state("o", "Bob", gaze_deg=15.0)
    more = [state(f"o{number}", f"P{number}", gaze_deg=15.0) for number in range(5)]
    few = choose_pairs([mine, other], ACROSS, 2, 1)["v2"]
    many = choose_pairs([mine, other, *more], ACROSS, 2, 1)["v2"]
    assert {pair.base_frame for pair in few} == {pair.base_frame for pair in many}


def test_partners_vary_over_a_batch() -> None:
    others = [state(f"o{number}", f"P{number}", gaze_deg=15.0) for number in range(9)]
    bases = [state(f"v{number}", f"B{number}") for number in range(20)]
    pairs = choose_pairs([*bases, *others], ACROSS, 1, 1)
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
def test_only_reliably_labelled_frames_are_used(
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
    assert eye_kinds(clip, ACROSS)[1] == expected


def test_one_shut_eye_is_unsure() -> None:
    clip = state("k", "Ann")
    clip.blink[:, 1] = 0.9
    assert (eye_kinds(clip, ACROSS) == UNSURE).all()
