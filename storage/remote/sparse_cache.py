"""Parts of large objects of a bucket on this machine's disk, bounded in size and shared by its processes.

A copy is a sparse file of the object's size in which only the parts that were asked for are filled in, and
beside it a sparse file of marks: one byte for each 512 bytes of the object, set where a part begins that is
there. The mark is set after the data, so that a process that is killed leaves no wrong part, and two
processes that fetch the same part write the same bytes.

    <folder>/<digest>.data  <digest>.marks  .lock

When the copies exceed the limit, those opened or filled longest ago are removed. A process that has one open
goes on reading it and notices at its next missing part.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock
from upath import UPath

from storage.disk import disk_errors_at
from storage.objects import read_range

CACHE_VARIABLE: Final = "PDFGC_CACHE_GIB"
DEFAULT_LIMIT_GIB: Final = 200.0
GIB: Final = 2**30
MARK_BYTES: Final = 512  # of the object, for each mark: a tar block
ALIGNMENT_BYTES: Final = 4096  # parts are fetched in whole blocks of `storage.integrity.block_checksums`
KEPT_SHARE: Final = 0.9  # of the limit, after copies were removed
CHECKED_SHARE: Final = 0.05  # of the limit: fetched by a process between two looks at the folder
DISK_BLOCK_BYTES: Final = 512  # unit of st_blocks


class RemovedCopyError(Exception):
    """The copy was removed to make room: open it again."""


@dataclass(frozen=True)
class SparseCache:
    """The folder and its limit."""

    folder: Path
    limit_bytes: int

    def data_path(self, digest: str) -> Path:
        """The file of a copy; what was not asked for is zeros in it."""
        return self.folder / f"{digest}.data"

    def open(self, remote: UPath, digest: str, size_bytes: int) -> "SparseCopy":
        """Open the copy of an object, empty if it is new.

        Args:
            remote: the object.
            digest: of its content, which names the copy.
            size_bytes: of the object.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock():
            files: list[int] = []
            for suffix, size in ((".data", size_bytes), (".marks", -(-size_bytes // MARK_BYTES))):
                path = self.folder / f"{digest}{suffix}"
                files.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                if os.fstat(files[-1]).st_size != size:
                    os.ftruncate(files[-1], size)
                os.utime(path)  # time of the last use
        return SparseCopy(self, remote, size_bytes, *files)

    def trim(self) -> None:
        """Remove the copies used longest ago until the rest is below the limit."""
        with self._lock():
            copies = [(path, path.stat()) for path in self.folder.glob("*.data")]
            used = sum(status.st_blocks * DISK_BLOCK_BYTES for _, status in copies)
            if used <= self.limit_bytes:
                return
            for path, status in sorted(copies, key=lambda copy: copy[1].st_mtime_ns):
                path.unlink()
                path.with_suffix(".marks").unlink(missing_ok=True)
                used -= status.st_blocks * DISK_BLOCK_BYTES
                if used <= KEPT_SHARE * self.limit_bytes:
                    return

    def _lock(self) -> FileLock:
        return FileLock(self.folder / ".lock")


class SparseCopy:
    """An open copy; `descriptor` is read with `os.pread` after `require`."""

    def __init__(self, cache: SparseCache, remote: UPath, size_bytes: int, data: int, marks: int) -> None:
        self.descriptor = data
        self._cache, self._remote, self._size_bytes, self._marks = cache, remote, size_bytes, marks
        self._fetched_bytes = 0

    def require(self, offset: int, size: int) -> None:
        """Fetch a part unless it is there; parts are always asked for with the same bounds.

        Raises:
            RemovedCopyError: it is not there, and the copy was removed.
            FileNotFoundError: the object is gone.
        """
        if os.pread(self._marks, 1, offset // MARK_BYTES) == b"\1":
            return
        if not os.fstat(self.descriptor).st_nlink:
            raise RemovedCopyError
        start = offset // ALIGNMENT_BYTES * ALIGNMENT_BYTES
        end = min(-(-(offset + size) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES, self._size_bytes)
        with disk_errors_at(self._cache.folder):
            _write_whole(self.descriptor, read_range(self._remote, start, end), start)
            _write_whole(self._marks, b"\1", offset // MARK_BYTES)
        self._fetched_bytes += end - start
        if self._fetched_bytes >= CHECKED_SHARE * self._cache.limit_bytes:
            self._fetched_bytes = 0
            self._cache.trim()

    def fetch_again(self, offset: int, size: int) -> None:
        """Fetch a part anew: what is there of it is damaged. Raises as `require`."""
        _write_whole(self._marks, b"\0", offset // MARK_BYTES)
        self.require(offset, size)

    def close(self) -> None:
        """Close the files."""
        os.close(self.descriptor)
        os.close(self._marks)


def _write_whole(file: int, data: bytes, offset: int) -> None:
    """Write all bytes: on a disk that fills up `os.pwrite` writes a part of them, without an error."""
    written = 0
    while written < len(data):
        written += os.pwrite(file, data[written:], offset + written)


def cache_limit_bytes() -> int:
    """The limit, from PDFGC_CACHE_GIB; by default 200 GiB.

    Raises:
        ValueError: it is no positive number.
    """
    text = os.environ.get(CACHE_VARIABLE) or str(DEFAULT_LIMIT_GIB)
    try:
        gib = float(text)
    except ValueError:
        gib = 0.0
    if not 0 < gib < float("inf"):
        raise ValueError(f"{CACHE_VARIABLE} must be a number of GiB above 0, got {text!r}")
    return int(gib * GIB)
