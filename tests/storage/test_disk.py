"""A full disk, a read-only one, a forbidden one: one line, nothing half published, then on as before."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from upath import UPath

from storage.atomic import copy_folder, write_atomically
from storage.disk import DiskError, disk_error, disk_errors_at
from storage.gc.findings import Layout, RetentionWindow
from storage.gc.removal import remove_findings
from storage.gc.unreferenced import find_unreferenced
from storage.publishing import current, verify
from tests.factories.storage.builds import FILES, files_below, materialise_small
from tests.factories.storage.small_disk import SmallDisk, small_disk

SIZES = sum(map(len, FILES.values()))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 1) as disk:
        yield disk


def test_full_disk_names_the_file_and_the_remedy(disk: SmallDisk) -> None:
    disk.fill()
    with pytest.raises(DiskError) as caught, write_atomically(disk.path / "a.txt") as partial:
        partial.write_bytes(bytes(10_000))
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value) == (
        f"{disk.path}/a.txt: no space left on the disk (0.0 MiB are free): free some (pdfgc gc lists what is "
        "not needed), then run it again; finished parts are kept"
    )
    assert sorted(path.name for path in disk.path.iterdir()) == ["filler"]


@pytest.mark.parametrize("free_bytes", range(0, 49_152, 4096))
def test_build_on_a_full_disk_is_completed_once_there_is_room(disk: SmallDisk, free_bytes: int) -> None:
    root = UPath(disk.path / "root")
    Path(str(root)).mkdir()
    disk.fill(free_bytes)
    with suppress(DiskError):  # the largest of these sizes suffice
        materialise_small(root)
    published = current(root, "clips", "batch-0000")
    assert published is None or verify(published) == []
    assert disk.partials() == []
    disk.clear()
    published = materialise_small(root)
    assert files_below(Path(str(published.directory))) == FILES
    assert verify(published) == []
    assert disk.partials() == []


def test_build_on_a_full_disk_is_an_error_of_the_disk(disk: SmallDisk) -> None:
    root = UPath(disk.path / "root")
    disk.fill(SIZES // 2)
    with pytest.raises(DiskError) as caught:
        materialise_small(root)
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value).startswith(f"{root / '.building' / 'clips' / 'batch-0000'}/")


def test_copied_folder_on_a_full_disk_is_an_error_of_the_disk(disk: SmallDisk, tmp_path: Path) -> None:
    (tmp_path / "source" / "video").mkdir(parents=True)
    (tmp_path / "source" / "video" / "sound.flac").write_bytes(bytes(100_000))
    disk.fill(8192)
    with pytest.raises(DiskError, match="no space left on the disk"), disk_errors_at(disk.path):
        copy_folder(tmp_path / "source", disk.path / "copy")


def test_rebuild_on_a_full_disk_keeps_the_current_build(disk: SmallDisk) -> None:
    root = UPath(disk.path / "root")
    before = materialise_small(root)
    disk.fill(4096)
    with pytest.raises(DiskError, match="no space left"):
        materialise_small(root, force=True)
    after = current(root, "clips", "batch-0000")
    assert after is not None
    assert (after.directory, verify(after)) == (before.directory, [])


def test_gc_makes_room_on_a_full_disk(disk: SmallDisk) -> None:
    root = UPath(disk.path / "root")
    disk.fill(SIZES // 2)
    with pytest.raises(DiskError):
        materialise_small(root)
    disk.fill()
    window, layout = RetentionWindow.of(0.0), Layout({}, frozenset(), frozenset({"filler"}), frozenset())
    found = find_unreferenced(root, dict, layout, window)
    removal = remove_findings(root, found, dict, layout, window)
    assert [finding.kind for finding in removal.removed] == ["work"]
    assert os.statvfs(disk.path).f_bavail > 0


def test_read_only_disk_names_the_remedy(disk: SmallDisk) -> None:
    root = UPath(disk.path / "root")
    Path(str(root)).mkdir()
    with disk.read_only(), pytest.raises(DiskError, match="read-only: mount it writable") as caught:
        materialise_small(root)
    assert caught.value.errno == errno.EROFS
    assert materialise_small(root).built


def test_other_errors_are_not_of_the_disk() -> None:
    assert disk_error(FileNotFoundError(errno.ENOENT, "No such file", "a"), "b") is None
    denied = disk_error(PermissionError(errno.EACCES, "Permission denied", "a\x1b[2J"), "b")
    assert str(denied) == (
        f"a\\x1b[2J: user {os.geteuid()} has no permission: change the owner or mode, or choose another "
        "place, then run it again"
    )
