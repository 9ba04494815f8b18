"""Parts of large objects in a bounded local cache; a local file plays the object."""

import os
from pathlib import Path

import pytest
from upath import UPath

from storage.disk import DiskError
from storage.remote.sparse_cache import CACHE_VARIABLE, RemovedCopyError, SparseCache, cache_limit_bytes
from tests.factories.storage.small_disk import small_disk

SIZE = 1 << 20
BLOCK = 4096


@pytest.fixture
def remote(tmp_path: Path) -> UPath:
    """An object whose every block has its own content."""
    content = b"".join(bytes([1 + block % 255]) * BLOCK for block in range(SIZE // BLOCK))
    (tmp_path / "object").write_bytes(content)
    return UPath(tmp_path / "object")


def blocks_on_disk(path: Path) -> int:
    return path.stat().st_blocks * 512 // BLOCK


def test_require_fetches_the_blocks_of_a_part_once(tmp_path: Path, remote: UPath) -> None:
    cache = SparseCache(tmp_path / "cache", SIZE)
    copy = cache.open(remote, "d", SIZE)
    copy.require(3 * BLOCK + 512, BLOCK)  # in blocks 3 and 4
    assert os.pread(copy.descriptor, BLOCK, 3 * BLOCK + 512) == b"\4" * (BLOCK - 512) + b"\5" * 512
    assert os.pread(copy.descriptor, 1, 5 * BLOCK) == b"\0"
    assert blocks_on_disk(cache.data_path("d")) == 2
    Path(remote.path).unlink()
    copy.require(3 * BLOCK + 512, BLOCK)
    with pytest.raises(FileNotFoundError):
        copy.require(0, 512)
    copy.close()


def test_copies_of_other_processes_are_used(tmp_path: Path, remote: UPath) -> None:
    cache = SparseCache(tmp_path / "cache", SIZE)
    first, second = cache.open(remote, "d", SIZE), cache.open(remote, "d", SIZE)
    first.require(SIZE - 512, 512)
    Path(remote.path).unlink()
    second.require(SIZE - 512, 512)
    assert os.pread(second.descriptor, 512, SIZE - 512) == b"\1" * 512  # block 255
    first.close()
    second.close()


def test_copies_used_longest_ago_are_removed(tmp_path: Path, remote: UPath) -> None:
    cache = SparseCache(tmp_path / "cache", 40 * BLOCK)
    copies = [cache.open(remote, name, SIZE) for name in "abc"]
    for copy in copies:
        copy.require(0, 15 * BLOCK)  # 45 blocks in all; the limit keeps two of the three
    assert sorted(path.name for path in cache.folder.glob("*.*")) == [
        ".lock",
        "b.data",
        "b.marks",
        "c.data",
        "c.marks",
    ]
    copies[0].require(0, 15 * BLOCK)  # what it has can be read on
    with pytest.raises(RemovedCopyError):
        copies[0].require(20 * BLOCK, BLOCK)
    for copy in copies:
        copy.close()


def test_limit_is_a_positive_number_of_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "0.5")
    assert cache_limit_bytes() == 1 << 29
    for wrong in ("0", "-1", "many", "inf", "nan"):
        monkeypatch.setenv(CACHE_VARIABLE, wrong)
        with pytest.raises(ValueError, match=f"must be a number of GiB above 0, got '{wrong}'"):
            cache_limit_bytes()


def test_part_that_found_no_room_is_fetched_once_there_is(tmp_path: Path, remote: UPath) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        copy = SparseCache(disk.path / "cache", SIZE).open(remote, "d", SIZE)
        copy.require(0, 512)  # so that the file of marks has its block
        disk.fill(3 * BLOCK)
        with pytest.raises(DiskError, match="no space left on the disk"):
            copy.require(BLOCK, 8 * BLOCK)
        disk.clear()
        copy.require(BLOCK, 8 * BLOCK)
        assert os.pread(copy.descriptor, 8 * BLOCK, BLOCK) == remote.read_bytes()[BLOCK : 9 * BLOCK]
        copy.close()
