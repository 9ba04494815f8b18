import itertools
import json
from collections import Counter

import numpy as np
import pytest

from training.data.sampling import Cursor, Order, OrderSettings, Slot, World, epoch_order, sample_generator

SHARDS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3])


def test_epoch_order_is_a_permutation() -> None:
    orders = {
        (seed, epoch): epoch_order(SHARDS, seed, epoch, OrderSettings()).tolist()
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert all(sorted(order) == list(range(10)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 4
    assert orders[1, 1] == epoch_order(SHARDS, 1, 1, OrderSettings()).tolist()


def test_epoch_order_without_shuffling() -> None:
    assert epoch_order(SHARDS, 0, 3, OrderSettings(shuffle=False)).tolist() == list(range(10))


def test_epoch_order_with_windows_of_one_sample() -> None:
    orders_of_shards = set[tuple[int, ...]]()
    for epoch in range(5):
        order = epoch_order(SHARDS, 0, epoch, OrderSettings(window_samples=1))
        runs = [shard for shard, _ in itertools.groupby(SHARDS[order].tolist())]
        assert sorted(runs) == [0, 1, 2, 3]
        orders_of_shards.add(tuple(runs))
        for shard in range(4):
            assert order[SHARDS[order] == shard].tolist() == np.flatnonzero(shard == SHARDS).tolist()
    assert len(orders_of_shards) > 1


def test_epoch_order_shuffles_within_windows() -> None:
    shards = np.repeat(np.arange(8), 50)
    order = epoch_order(shards, 0, 0, OrderSettings(window_samples=100))
    assert sorted(order.tolist()) == list(range(400))
    for first in range(0, 400, 100):
        window = order[first : first + 100]
        assert len(set(shards[window].tolist())) == 2
        assert window.tolist() != sorted(window.tolist())


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 3, 4, 25])
def test_ranks_share_every_epoch_in_full_batches(ranks: int, rows: int) -> None:
    order = Order(SHARDS, seed=5, settings=OrderSettings())
    steps = -(-30 // (rows * ranks))
    counts = Counter[Slot]()
    for rank in range(ranks):
        for batch in itertools.islice(order.stream(0, rows, World(rank, ranks)), steps):
            assert len(batch) == rows
            counts.update(batch)
    for epoch in range(3):
        assert Counter(
            {slot.item: count for slot, count in counts.items() if slot.epoch == epoch}
        ) == Counter(range(10))


def test_positions_do_not_depend_on_ranks_and_rows() -> None:
    order = Order(SHARDS, seed=5, settings=OrderSettings())
    single = [slot for batch in itertools.islice(order.stream(4, 6, World()), 2) for slot in batch]
    three = [list(itertools.islice(order.stream(4, 2, World(rank, 3)), 2)) for rank in range(3)]
    assert single == [slot for step in range(2) for rank in range(3) for slot in three[rank][step]]


@pytest.mark.parametrize(
    ("ranks", "rows", "steps"), [(1, 10, 1), (2, 3, 2), (3, 4, 1), (3, 1, 4), (2, 50, 1)]
)
def test_single_pass_is_equal_on_all_ranks(ranks: int, rows: int, steps: int) -> None:
    order = Order(SHARDS, seed=0, settings=OrderSettings(shuffle=False))
    passes = [list(order.single_pass(rows, World(rank, ranks), epoch=7)) for rank in range(ranks)]
    assert [len(batches) for batches in passes] == [steps] * ranks
    slots = [slot for batches in passes for batch in batches for slot in batch]
    assert len(slots) == steps * ranks * rows
    assert sorted(slot.item for slot in slots if slot.real) == list(range(10))
    assert {slot.epoch for slot in slots} == {7}


def test_cursor_json_round_trip() -> None:
    cursor = Cursor(3, 10, "ab", 17, ("clip-01",))
    assert Cursor.from_json(json.loads(json.dumps(cursor.to_json()))) == cursor


def test_cursor_of_another_version_is_rejected() -> None:
    with pytest.raises(ValueError, match="version 2, this code reads 1"):
        Cursor.from_json(Cursor(3, 10, "ab").to_json() | {"version": 2})


def test_sample_generator_depends_on_all_arguments() -> None:
    keys = [(0, 0, "a", 0), (1, 0, "a", 0), (0, 1, "a", 0), (0, 0, "b", 0), (0, 0, "a", 1)]
    assert len({int(sample_generator(*key).integers(2**62)) for key in keys}) == 5
    assert sample_generator(0, 1, "a").random() == sample_generator(0, 1, "a").random()


def test_order_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match=r"rank must be in \[0, 2\), got 2"):
        World(2, 2)
    with pytest.raises(ValueError, match="samples must be >= 1 and seed >= 0, got 0"):
        Order(np.array([], np.int64), 0, OrderSettings())
    with pytest.raises(ValueError, match="window_samples must be >= 1, got 0"):
        OrderSettings(window_samples=0)
