"""Which videos are drawn, and that the file tells them again."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from evaluation.generation.reenactment import (
    CONTROLS,
    Reenactment,
    ReenactmentPlan,
    VideoCounts,
    draw_plan,
    read_plan,
    require_clips,
    write_plan,
)
from training.data.index import ClipIndex

COUNTS = VideoCounts(self_videos=3, cross_videos=4, control_bases=2, frames=64)
CLIPS = [(f"{person}-{number}", person, 64 if number < 3 else 36) for person in "abc" for number in range(4)]


def index_of(clips: Sequence[tuple[str, str, int]]) -> ClipIndex:
    zeros = np.zeros(len(clips), np.int64)
    return ClipIndex(
        split="test",
        key_column=pa.array([key for key, _, _ in clips]),
        identity_column=pa.array([identity for _, identity, _ in clips]),
        video_column=pa.array([key for key, _, _ in clips]),
        shard_paths=(),
        shard_names=(),
        shards=zeros,
        offsets_bytes=zeros,
        sizes_bytes=zeros,
        frame_counts=np.array([frames for _, _, frames in clips]),
        anchor_counts=zeros,
        split_of_identity={},
    )


def drawn(
    clips: Sequence[tuple[str, str, int]] = CLIPS, seed: int = 0, counts: VideoCounts = COUNTS
) -> ReenactmentPlan:
    return draw_plan(index_of(clips), "digest", seed, "test", counts)


def person(key: str) -> str:
    return key[0]


def test_draw_depends_on_the_seed_not_the_index_order() -> None:
    assert drawn() == drawn(CLIPS[::-1])
    assert drawn() != drawn(seed=1)


def test_self_videos_are_of_different_people() -> None:
    selves = drawn().of_task("self")
    assert [one.name for one in selves] == ["self-00", "self-01", "self-02"]
    assert {person(one.portrait) for one in selves} == set("abc")
    for one in selves:
        assert one.clips() == (one.portrait,)
        assert (one.portrait_frame, one.frames) == (0, 64)


def test_cross_videos_have_four_drivers_of_other_people() -> None:
    crosses = drawn().of_task("cross")
    assert len(crosses) == 4
    for one in crosses:
        assert len(set(one.drivers.values())) == 4
        assert person(one.portrait) not in set(map(person, one.drivers.values()))
        assert one.frames == 64
    assert len({tuple(one.drivers.values()) for one in crosses}) > 1


def test_control_videos_replace_one_driver_each() -> None:
    plan = drawn()
    controls = plan.of_task("control")
    assert [one.changed() for one in controls] == [*CONTROLS, *CONTROLS]
    assert [one.base for one in controls] == ["self-00"] * 4 + ["self-01"] * 4
    for one in controls:
        assert one.base is not None
        assert plan.named(one.base).portrait == one.portrait
        assert person(one.drivers[one.changed()]) != person(one.portrait)


def test_length_is_the_shortest_drivers_up_to_the_limit() -> None:
    short = [("a", "a", 30), ("b", "b", 20)]
    plan = drawn(short, counts=VideoCounts(2, 2, 1, 25))
    assert {one.name: one.frames for one in plan.of_task("self")} in (
        {"self-00": 25, "self-01": 20},
        {"self-00": 20, "self-01": 25},
    )
    assert {one.frames for one in plan.of_task("control")} == {20}


def test_too_few_clips_give_fewer_videos_and_a_note() -> None:
    plan = drawn([("a", "anna", 64), ("b", "anna", 64), ("c", "bert", 9)])
    assert plan.notes == (
        "2 of 3 self videos: the split has 2 clips of 1 people",
        "the split has one person: drivers are other clips of the same person",
    )
    (only,) = drawn([("a", "anna", 64)]).reenactments
    assert only.name == "self-00"


def test_draw_plan_rejects_clips_that_are_too_short() -> None:
    with pytest.raises(ValueError, match="split test has 0 clips of 10 frames or more, too few"):
        drawn([("a", "anna", 9)])


def test_plan_round_trips_through_its_file(tmp_path: Path) -> None:
    write_plan(tmp_path / "reenactment_plan.json", drawn())
    assert read_plan(tmp_path / "reenactment_plan.json") == drawn()
    (tmp_path / "wrong.json").write_text('{"name": "x", "seed": "y"}')
    with pytest.raises(ValueError, match=r"wrong\.json: not a reenactment plan \(seed: "):
        read_plan(tmp_path / "wrong.json")


def test_require_clips_rejects_another_data_set() -> None:
    keys = [key for key, _, _ in CLIPS]
    require_clips(drawn(), keys, "here")
    with pytest.raises(ValueError, match=r"here lacks \d+ of \d+ clips of the plan test-seed0, such as a-0"):
        require_clips(drawn(), [key for key in keys if person(key) != "a"], "here")


def test_invalid_plans_are_rejected() -> None:
    one = drawn().reenactments[0]
    with pytest.raises(ValueError, match="duplicate names \\['self-00'\\]"):
        ReenactmentPlan("x", 0, "test", "digest", (one, one))
    with pytest.raises(ValueError, match="got \\['lip'\\]"):
        Reenactment("x", "self", "a", 0, {"lip": "a"}, 5)
    with pytest.raises(ValueError, match="task control with base None"):
        replace(one, task="control")
