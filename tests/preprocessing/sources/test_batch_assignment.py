"""Dealing videos into batches."""

import random
from dataclasses import replace

import pyarrow as pa
import pytest

from preprocessing.schema import KEY_PATTERN
from preprocessing.sources.batch_assignment import BatchSettings, assign_batches, batch_key
from preprocessing.sources.catalog import CatalogRow, rows_of, table_of


def make_rows(counts: dict[str, int], first: int = 0) -> list[CatalogRow]:
    """`counts[identity]` accepted rows each, with ids in order from `first`."""
    rows: list[CatalogRow] = []
    for identity, count in counts.items():
        for _ in range(count):
            video_id = f"{first + len(rows):016x}"
            path = f"/r/{identity}/{video_id}.mp4"
            rows.append(
                CatalogRow(
                    video_id,
                    video_id,
                    path,
                    path[3:],
                    "/r",
                    identity,
                    1,
                    1,
                    True,
                    "accepted",
                    "",
                    "",
                    None,
                    "",
                    None,
                )
            )
    return rows


def dealt(table: pa.Table) -> list[dict[str, int]]:
    """For each batch in the order of its name: how many videos of whom."""
    batches: dict[str, dict[str, int]] = {}
    for row in sorted(rows_of(table), key=lambda row: str(row.batch)):
        if row.batch is not None:
            batch = batches.setdefault(row.batch, {})
            batch[row.identity] = batch.get(row.identity, 0) + 1
    return list(batches.values())


def test_batch_holds_whole_identities_up_to_its_size() -> None:
    table = table_of(make_rows({"a": 3, "b": 3, "c": 3, "d": 3}))
    assert dealt(assign_batches(table, BatchSettings(videos_per_batch=6, minimum_identities=2))) == [
        {"a": 3, "b": 3},
        {"c": 3, "d": 3},
    ]


def test_batch_grows_until_it_has_enough_identities() -> None:
    table = table_of(make_rows({"a": 4, "b": 4, "c": 4, "d": 4, "e": 4, "f": 4}))
    assert dealt(assign_batches(table, BatchSettings(videos_per_batch=5, minimum_identities=3))) == [
        {"a": 4, "b": 4, "c": 4},
        {"d": 4, "e": 4, "f": 4},
    ]


def test_last_batch_with_few_identities_is_merged() -> None:
    table = table_of(make_rows({"a": 3, "b": 3, "c": 2}))
    assert dealt(assign_batches(table, BatchSettings(videos_per_batch=6, minimum_identities=2))) == [
        {"a": 3, "b": 3, "c": 2}
    ]


def test_large_identity_is_split_over_batches() -> None:
    table = table_of(make_rows({"a": 8, "b": 2, "c": 8}))
    assert dealt(assign_batches(table, BatchSettings(videos_per_batch=4, minimum_identities=2))) == [
        {"a": 4, "b": 2},
        {"c": 4, "a": 4},
        {"c": 4},
    ]


def test_single_identity_is_split_to_size() -> None:
    table = table_of(make_rows({"a": 30}))
    assert dealt(assign_batches(table, BatchSettings(videos_per_batch=8, minimum_identities=4))) == [
        {"a": 8},
        {"a": 8},
        {"a": 14},
    ]


def test_new_videos_form_new_batches() -> None:
    settings = BatchSettings(videos_per_batch=4, minimum_identities=2)
    old = rows_of(assign_batches(table_of(make_rows({"a": 2, "b": 2, "c": 2, "d": 2})), settings))
    both = assign_batches(table_of(old + make_rows({"a": 1, "e": 1}, first=100)), settings)
    assert rows_of(both)[: len(old)] == old
    assert dealt(both) == [{"a": 2, "b": 2}, {"c": 2, "d": 2}, {"a": 1, "e": 1}]
    assert str(rows_of(both)[-1].batch).startswith("b00002-")
    assert assign_batches(both, settings).equals(both)


def test_assignment_ignores_the_order_of_rows() -> None:
    rows = make_rows({"a": 5, "b": 7, "c": 3, "d": 9})
    shuffled = list(rows)
    random.Random(3).shuffle(shuffled)
    settings = BatchSettings(videos_per_batch=6, minimum_identities=2)
    first = {row.video_id: row.batch for row in rows_of(assign_batches(table_of(rows), settings))}
    second = {row.video_id: row.batch for row in rows_of(assign_batches(table_of(shuffled), settings))}
    assert first == second


@pytest.mark.parametrize("change", [{"status": "refused"}, {"status": "duplicate"}, {"present": False}])
def test_only_accepted_present_videos_are_assigned(change: dict[str, object]) -> None:
    rows = [replace(row, **change) for row in make_rows({"a": 2})]
    assert assign_batches(table_of(rows), BatchSettings())["batch"].to_pylist() == [None, None]


def test_batch_keys_sort_by_age_without_dots() -> None:
    keys = [batch_key(number, ["1", "2"]) for number in (9, 10, 100, 99_999)]
    assert keys == sorted(keys)
    assert all(KEY_PATTERN.fullmatch(key) for key in keys)
    assert batch_key(0, ["1", "2"]) == batch_key(0, ["2", "1"]) != batch_key(0, ["1", "3"])


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="videos_per_batch must be >= 1, got 0"):
        BatchSettings(videos_per_batch=0, minimum_identities=4)
