"""Splits: disjoint by construction, stable while data grows, sensible when small."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.dataset.splits import Split, SplitSettings, assign_splits, merged_identities

NAMES = st.lists(st.text("abcdef ", min_size=1, max_size=6), unique=True, max_size=40)
DEFAULT = SplitSettings()


def numbered(count: int) -> list[str]:
    return [f"person-{number}" for number in range(count)]


@given(NAMES, st.randoms(use_true_random=False))
def test_splits_do_not_depend_on_the_order(names: list[str], rng: object) -> None:
    shuffled = list(names)
    getattr(rng, "shuffle")(shuffled)  # noqa: B009  (hypothesis' own Random type)
    assert assign_splits(shuffled, {}, DEFAULT) == assign_splits(names, {}, DEFAULT)


@settings(deadline=None)
@given(st.lists(NAMES, max_size=6))
def test_splits_are_stable_as_data_grows(batches: list[list[str]]) -> None:
    before: dict[str, Split] = {}
    seen: set[str] = set()
    for batch in batches:
        seen |= set(batch)
        after = assign_splits(seen, before, DEFAULT)
        assert after.keys() == seen
        assert {name: after[name] for name in before} == before
        before = after


def test_removed_identities_keep_their_split() -> None:
    assert assign_splits([], {"gone": "test"}, DEFAULT) == {"gone": "test"}


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, {}), (1, {"train": 1}), (2, {"train": 2}), (3, {"train": 2, "validation": 1})]
)
def test_tiny_corpus_is_training_data(count: int, sizes: dict[str, int]) -> None:
    # A share of nothing by hash: only the rule for small corpora fills the splits.
    tiny = SplitSettings(validation_share=1e-9, test_share=1e-9)
    assert Counter(assign_splits(numbered(count), {}, tiny).values()) == sizes


def test_six_identities_fill_every_split() -> None:
    tiny = SplitSettings(validation_share=1e-9, test_share=1e-9)
    sizes = Counter(assign_splits(numbered(6), {}, tiny).values())
    assert sizes == {"train": 4, "validation": 1, "test": 1}


@pytest.mark.parametrize(
    ("count", "minimum", "sizes"),
    [
        (9, 2, {"train": 6, "validation": 2, "test": 1}),
        (12, 2, {"train": 8, "validation": 2, "test": 2}),
        (12, 1, {"train": 10, "validation": 1, "test": 1}),
        (12, 0, {"train": 12}),
        (100, 3, {"train": 94, "validation": 3, "test": 3}),
    ],
)
def test_held_out_splits_have_their_minimum(count: int, minimum: int, sizes: dict[str, int]) -> None:
    tiny = SplitSettings(validation_share=1e-9, test_share=1e-9, minimum_identities=minimum)
    assert Counter(assign_splits(numbered(count), {}, tiny).values()) == sizes


def test_minimum_is_filled_from_new_identities() -> None:
    tiny = SplitSettings(validation_share=1e-9, test_share=1e-9)
    before: dict[str, Split] = {f"old-{number}": "train" for number in range(10)}
    before |= {"old-10": "validation", "old-11": "test", "old-12": "test"}
    assert assign_splits(before, before, tiny) == before
    after = assign_splits([*before, *numbered(3)], before, tiny)
    assert Counter(after[name] for name in numbered(3)) == {"train": 2, "validation": 1}


def test_share_of_zero_leaves_the_split_empty() -> None:
    none = SplitSettings(validation_share=0.0, test_share=0.0)
    assert set(assign_splits(numbered(50), {}, none).values()) == {"train"}


def test_shares_hold_in_a_large_corpus() -> None:
    sizes = Counter(assign_splits(numbered(4000), {}, DEFAULT).values())
    # 200 expected of each; the standard deviation of the draw is 14.
    assert abs(sizes["validation"] - 200) < 60
    assert abs(sizes["test"] - 200) < 60
    other = assign_splits(numbered(4000), {}, SplitSettings(seed=1))
    assert other != assign_splits(numbered(4000), {}, DEFAULT)


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.1), (0.1, -0.1), (0.5, 0.5)])
def test_settings_refuse_shares_without_training_data(validation: float, test: float) -> None:
    with pytest.raises(ValueError, match=r"_share must be >= 0, got -0.1|must be < 1, got 0.5 \+ 0.5"):
        SplitSettings(validation_share=validation, test_share=test)
    with pytest.raises(ValueError, match="minimum_identities must be >= 0, got -1"):
        SplitSettings(minimum_identities=-1)


def test_names_that_match_a_pattern_are_in_its_split() -> None:
    names = [*numbered(8), "held-1", "held-2", "unseen-1"]
    patterns = SplitSettings(
        validation_pattern="held-*", test_pattern="unseen-*", validation_share=0, test_share=0
    )
    splits = assign_splits(names, {"person-1": "test", "held-2": "train"}, patterns)
    assert [name for name in names if splits[name] == "validation"] == ["held-1", "held-2"]
    assert [name for name in names if splits[name] == "test"] == ["person-1", "unseen-1"]


def test_names_of_one_person_are_groups() -> None:
    assert merged_identities(" anna = a.smith; ben=ben2 = ben-vlog;") == (
        ("anna", "a.smith"),
        ("ben", "ben2", "ben-vlog"),
    )
    assert merged_identities("") == ()
    with pytest.raises(ValueError, match="one_person needs two names or more joined by '=', got 'anna'"):
        SplitSettings(one_person="anna")
