"""Shards in a bucket: samples are fetched when they are read. moto's server plays the store."""

from pathlib import Path

import pytest
import torch

from preprocessing.schema import LANDMARK_COUNT
from storage.objects import read_bytes, write_bytes
from tests.factories.storage.faulty_store import FaultyStore
from tests.factories.training.data import READER, key_of
from tests.factories.training.remote_root import publish_remotely
from training.data.index import ClipIndex, open_current, read_clip_index
from training.data.loader import BatchStream, LoaderSettings
from training.data.shard_reader import CorruptMemberError, ShardReader
from training.data.sources import ClipPairSettings, ClipPairSource

BATCHES = 3


def cached_bytes(index: ClipIndex) -> int:
    assert index.remote is not None
    return sum(path.stat().st_blocks * 512 for path in index.remote.cache.folder.glob("*.data"))


def read_all(reader: ShardReader, clip: int) -> None:
    frames = int(reader.index.frame_counts[clip])
    reader.frames(clip, range(frames))
    reader.rows(clip, "landmarks.npy", (frames, LANDMARK_COUNT, 3), 0, frames)


def test_reader_fetches_what_it_reads(bucket: str, tmp_path: Path) -> None:
    root = publish_remotely(bucket, tmp_path / "made")
    index = open_current(root, "train")
    assert cached_bytes(index) == 0
    reader = ShardReader(index, READER)
    local = ShardReader(read_clip_index(tmp_path / "made/assets/dataset", tmp_path / "made", "train"), READER)
    assert torch.equal(reader.frames(2, [5])[0], local.frames(2, [5])[0])
    assert index.remote is not None
    sizes = [record.size_bytes for record in index.remote.records]
    assert 0 < cached_bytes(index) < sum(sizes) / 2
    assert index.local_shard(2).stat().st_size == sizes[int(index.shards[2])]
    reader.close()


def test_reader_gives_the_same_through_a_faulty_store(
    bucket: str, store: FaultyStore, tmp_path: Path
) -> None:
    index = open_current(publish_remotely(bucket, tmp_path / "made"), "train")
    local = read_clip_index(tmp_path / "made/assets/dataset", tmp_path / "made", "train")
    store.rate = 0.3
    readers = [ShardReader(each, READER) for each in (index, local)]
    for clip, frames in enumerate(local.frame_counts.tolist()):
        remote_frames, local_frames = (reader.frames(clip, range(frames)) for reader in readers)
        assert all(map(torch.equal, remote_frames, local_frames))
    assert store.injected
    for reader in readers:
        reader.close()


def test_removed_copies_are_fetched_again(bucket: str, tmp_path: Path) -> None:
    index = open_current(publish_remotely(bucket, tmp_path / "made"), "train")
    reader = ShardReader(index, READER)
    before = reader.frames(0, [1])[0]
    assert index.remote is not None
    for path in index.remote.cache.folder.glob("*.*"):
        path.unlink()
    assert torch.equal(reader.frames(0, [1])[0], before)  # still open
    reader.frames(1, [1])  # of the same shard, and not there
    assert cached_bytes(index) > 0
    reader.close()


def test_loader_workers_read_the_bucket(bucket: str, tmp_path: Path) -> None:
    index = open_current(publish_remotely(bucket, tmp_path / "made"), "train")
    local = read_clip_index(tmp_path / "made/assets/dataset", tmp_path / "made", "train")
    for workers in (0, 1):
        settings = LoaderSettings(batch_size=2, workers=workers, reader=READER)
        streams = [BatchStream(ClipPairSource(each, ClipPairSettings()), settings) for each in (index, local)]
        for _, remote_batch, local_batch in zip(range(BATCHES), *streams, strict=False):
            assert remote_batch.facts.keys == local_batch.facts.keys
            assert all(map(torch.equal, remote_batch.tensors().values(), local_batch.tensors().values()))


def test_damaged_copies_are_fetched_again(bucket: str, tmp_path: Path) -> None:
    index = open_current(publish_remotely(bucket, tmp_path / "made"), "train")
    assert index.remote is not None
    reader = ShardReader(index, READER)
    before = reader.frames(0, [1])[0]
    reader.close()
    for path in index.remote.cache.folder.glob("*.data"):
        data = path.read_bytes()
        path.write_bytes(bytes(value ^ 1 for value in data))  # also the checksums' own copy
    reader = ShardReader(index, READER)
    assert torch.equal(reader.frames(0, [1])[0], before)
    reader.close()


def test_changed_object_is_found_by_its_checksums(bucket: str, tmp_path: Path) -> None:
    root = publish_remotely(bucket, tmp_path / "made")
    index = open_current(root, "train")
    shard, offset = int(index.shards[0]), int(index.offsets_bytes[0]) + int(index.sizes_bytes[0]) // 2
    path = root / index.shard_names[shard]
    data = bytearray(read_bytes(path))
    data[offset] ^= 1
    write_bytes(path, bytes(data))
    reader = ShardReader(index, READER)
    with pytest.raises(CorruptMemberError, match=key_of(0)):
        read_all(reader, 0)
    reader.close()
