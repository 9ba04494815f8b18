import itertools
import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.factories.training import data as data_makers
from tests.factories.training.data import CLIPS, READER, damage_member, key_of, make_data_set
from training.data import loader
from training.data.batches import Batch
from training.data.eye_anchors import EyeAnchorSource
from training.data.index import read_clip_index
from training.data.lip_windows import LipWindowSettings, LipWindowSource
from training.data.loader import (
    BatchStream,
    LoaderSettings,
    RowDataset,
    first_batches,
    single_pass,
    source_fingerprint,
)
from training.data.sampling import Cursor, OrderSettings, Slot, World
from training.data.shard_reader import CorruptMemberError, ShardReader
from training.data.sources import (
    ClipPairSettings,
    ClipPairSource,
    ExpressionWindowSettings,
    ExpressionWindowSource,
    LabelledFrameSource,
    Source,
)

TRAIN = [key_of(number) for number, clip in enumerate(CLIPS) if clip.split == "train"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    make_data_set(folder)
    return folder


def pairs(root: Path) -> ClipPairSource:
    return ClipPairSource(read_clip_index(root / "assets/dataset", root, "train"), ClipPairSettings())


def settings(rows: int, workers: int = 0, maximum_corrupt_clips: int = 0, seed: int = 0) -> LoaderSettings:
    return LoaderSettings(
        batch_size=rows,
        seed=seed,
        workers=workers,
        maximum_corrupt_clips=maximum_corrupt_clips,
        reader=READER,
    )


def lips(root: Path) -> LipWindowSource:
    return LipWindowSource(pairs(root).index, LipWindowSettings())


def eyes(root: Path) -> EyeAnchorSource:
    index = pairs(root).index
    return EyeAnchorSource(index, ShardReader(index, READER))


def labelled(root: Path) -> LabelledFrameSource:
    return LabelledFrameSource(pairs(root).index)


def windows(root: Path) -> ExpressionWindowSource:
    return ExpressionWindowSource(pairs(root).index, ExpressionWindowSettings())


def same(first: Batch, second: Batch) -> bool:
    pairs = zip(first.tensors().values(), second.tensors().values(), strict=True)
    return first.facts == second.facts and all(torch.equal(left, right) for left, right in pairs)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_epoch_has_every_sample_once(root: Path, ranks: int, workers: int) -> None:
    # 5 clips in 3 shards, fewer than ranks x workers at the end of this table.
    steps = -(-10 // (2 * ranks))
    counts = Counter[tuple[int, str]]()
    for rank in range(ranks):
        stream = BatchStream(pairs(root), settings(2, workers=workers), World(rank, ranks))
        for batch in itertools.islice(stream, steps):
            assert len(batch) == 2
            counts.update(zip(batch.facts.epochs, batch.facts.keys, strict=True))
    for epoch in (0, 1):
        assert {key: counts[epoch, key] for key in TRAIN} == dict.fromkeys(TRAIN, 1)


@pytest.mark.parametrize("make", [pairs, lips, eyes, labelled, windows])
@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_stream_continues_bit_for_bit(
    root: Path, make: Callable[[Path], Source[Batch]], workers: int
) -> None:
    whole = list(itertools.islice(BatchStream(make(root), settings(3)), 5))
    stopped = BatchStream(make(root), settings(3, workers=workers))
    list(itertools.islice(stopped, 2))  # workers have read ahead of what was handed out
    cursor = Cursor.from_json(json.loads(json.dumps(stopped.cursor.to_json())))
    assert cursor.position == 6
    resumed = BatchStream(make(root), settings(3, workers=workers), cursor=cursor)
    for expected, batch in zip(whole[2:], itertools.islice(resumed, 3), strict=True):
        assert same(expected, batch)


def test_epoch_and_seed_change_order_and_frames(root: Path) -> None:
    def rows(seed: int, epoch: int) -> list[tuple[str, int, int]]:
        stream = itertools.islice(BatchStream(pairs(root), settings(5, seed=seed)), epoch, epoch + 1)
        return [
            row
            for batch in stream
            for row in zip(batch.facts.keys, batch.facts.frames, batch.facts.seeds, strict=True)
        ]

    drawn = {(seed, epoch): rows(seed, epoch) for seed in (0, 1) for epoch in (0, 1)}
    assert drawn[1, 1] == rows(1, 1)
    assert len({tuple(key for key, _, _ in rows) for rows in drawn.values()}) == 4
    assert len({tuple(sorted((key, frame) for key, frame, _ in rows)) for rows in drawn.values()}) == 4
    assert len({seed for rows in drawn.values() for _, _, seed in rows}) == 20


def test_sample_does_not_depend_on_batch_size_and_order(root: Path) -> None:
    def by_key(loader: LoaderSettings) -> dict[str, tuple[int, int]]:
        facts = [
            batch.facts
            for batch in itertools.islice(BatchStream(pairs(root), loader), 5 // loader.batch_size)
        ]
        return {
            key: (frame, seed)
            for batch_facts in facts
            for key, frame, seed in zip(batch_facts.keys, batch_facts.frames, batch_facts.seeds, strict=True)
        }

    unshuffled = LoaderSettings(batch_size=1, workers=0, reader=READER, order=OrderSettings(shuffle=False))
    assert by_key(settings(5)) == by_key(unshuffled)


def test_loading_keeps_the_global_random_state(root: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    next(iter(BatchStream(pairs(root), settings(2, workers=1))))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("rows", "batches"), [(1, 1), (2, 1), (3, 2), (11, 6)])
def test_first_batches_are_the_streams_first(
    root: Path, monkeypatch: pytest.MonkeyPatch, rows: int, batches: int
) -> None:
    monkeypatch.setattr(loader, "FIRST_BATCHES_ROWS", 2)
    # Whatever the batch size of the run.
    first = list(first_batches(pairs(root), settings(5, workers=1), rows))
    assert len(first) == batches  # of two rows; 11 rows go through the clips twice
    expected = itertools.islice(BatchStream(pairs(root), settings(2)), batches)
    assert all(same(a, b) for a, b in zip(first, expected, strict=True))


def test_single_pass_pads_and_marks_the_last_batch(root: Path) -> None:
    batches = [list(single_pass(pairs(root), settings(2), World(rank, 2))) for rank in range(2)]
    assert [len(own) for own in batches] == [2, 2]
    rows = [
        row
        for own in batches
        for batch in own
        for row in zip(batch.facts.keys, batch.facts.real, strict=True)
    ]
    assert sorted(key for key, real in rows if real) == TRAIN
    assert len(rows) == 8


def test_cursor_of_other_data_is_rejected(root: Path) -> None:
    cursor = BatchStream(pairs(root), settings(2)).cursor
    with pytest.raises(ValueError, match="has seed 0, this run has 1"):
        BatchStream(pairs(root), settings(2, seed=1), cursor=cursor)
    with pytest.raises(ValueError, match="has samples 5, this run has 3"):
        BatchStream(eyes(root), settings(2), cursor=cursor)
    with pytest.raises(ValueError, match="has fingerprint"):
        BatchStream(
            ClipPairSource(pairs(root).index, ClipPairSettings(minimum_gap_frames=2)),
            settings(2),
            cursor=cursor,
        )


def test_cursor_fits_other_rows_and_workers(root: Path) -> None:
    plain = source_fingerprint(pairs(root), settings(2))
    assert plain == source_fingerprint(pairs(root), settings(3, workers=2, maximum_corrupt_clips=4))
    windowed = LoaderSettings(batch_size=2, reader=READER, order=OrderSettings(window_samples=2))
    assert plain != source_fingerprint(pairs(root), windowed)


@pytest.mark.parametrize("workers", [0, 1])
def test_corrupt_member_is_an_error(tmp_path: Path, workers: int) -> None:
    make_data_set(tmp_path)
    for frame in range(CLIPS[3].frames):
        damage_member(tmp_path, key_of(3), f"{frame:03d}.jpg")
    stream = BatchStream(pairs(tmp_path), settings(5, workers=workers))
    with pytest.raises(
        CorruptMemberError, match=r"shard assets/shard-1\.tar, sample clip-03: member \d{3}\.jpg"
    ):
        next(iter(stream))


@pytest.mark.parametrize("workers", [0, 2])
def test_corrupt_clips_are_replaced_up_to_the_bound(tmp_path: Path, workers: int) -> None:
    make_data_set(tmp_path)
    for frame in range(CLIPS[3].frames):
        damage_member(tmp_path, key_of(3), f"{frame:03d}.jpg")
    stream = BatchStream(pairs(tmp_path), settings(5, workers=workers, maximum_corrupt_clips=1))
    batches = list(itertools.islice(stream, 3))
    for batch in batches:
        assert {member.key for member in batch.facts.corrupt} == {key_of(3)}
        assert len(batch) == 5
        assert set(TRAIN) - set(batch.facts.keys) == {key_of(3)}
    assert stream.cursor.corrupt_keys == (key_of(3),)
    # The count continues in the next run.
    with pytest.raises(CorruptMemberError, match="1 clips cannot be read, maximum_corrupt_clips is 0"):
        BatchStream(pairs(tmp_path), settings(5), cursor=stream.cursor)


def test_corrupt_clips_above_the_bound_are_an_error(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    for clip in (1, 4):
        for frame in range(CLIPS[clip].frames):
            damage_member(tmp_path, key_of(clip), f"{frame:03d}.jpg")
    with pytest.raises(
        CorruptMemberError, match="2 clips cannot be read, maximum_corrupt_clips is 1"
    ) as raised:
        list(itertools.islice(BatchStream(pairs(tmp_path), settings(5, maximum_corrupt_clips=1)), 2))
    assert key_of(1) in str(raised.value)
    assert key_of(4) in str(raised.value)


def test_corrupt_negative_replaces_the_negative_only(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    damage_member(tmp_path, key_of(3), "mel.npy")
    source = LipWindowSource(pairs(tmp_path).index, LipWindowSettings(from_same_clip=0, from_other_clips=1))
    stream = BatchStream(source, settings(5, maximum_corrupt_clips=1))
    met = [batch for batch in itertools.islice(stream, 6) if len(batch.facts.corrupt) > 1]
    assert met  # the clip itself and at least once as somebody's negative
    for batch in met:
        assert set(batch.facts.keys) == set(TRAIN) - {key_of(3)}


def test_corrupt_anchor_facts_are_counted(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    damage_member(tmp_path, key_of(0), "anchors.json")
    with pytest.raises(CorruptMemberError, match=r"clip-00: member anchors\.json"):
        BatchStream(eyes(tmp_path), settings(1))
    assert BatchStream(eyes(tmp_path), settings(1, maximum_corrupt_clips=1)).cursor.samples == 2


def test_row_dataset_works_in_a_spawned_worker(root: Path) -> None:
    rows = RowDataset(pairs(root), settings(2))
    first = rows[Slot(0, 1, real=True)]  # has opened a shard
    assert same(pickle.loads(pickle.dumps(rows))[Slot(0, 1, real=True)], first)  # noqa: S301 -- what was dumped here


def test_batch_moves_to_a_device(root: Path) -> None:
    batch = next(iter(BatchStream(windows(root), settings(2))))
    moved = batch.to("meta")
    assert type(moved) is type(batch)
    assert moved.facts is batch.facts
    assert {value.device.type for value in moved.tensors().values()} == {"meta"}
    assert moved.window.shape == (2, 5, 3, data_makers.SIDE_PX, data_makers.SIDE_PX)


def test_loader_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="batch_size must be >= 1, got 0"):
        LoaderSettings(batch_size=0)
