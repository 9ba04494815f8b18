"""What lies below a root, level by level, and removing it; the same for a folder and a bucket.

Locations are paths below the root with forward slashes, "" the root itself. obstore is imported only for a
bucket.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from upath import UPath

from storage.atomic import flush_directory
from storage.bucket import open_store
from storage.transfer import is_local, local_path

if TYPE_CHECKING:
    import obstore.store


@dataclass(frozen=True)
class Entry:
    """One name of a directory; links are followed for `is_directory` alone."""

    name: str
    is_directory: bool
    is_link: bool


@dataclass(frozen=True)
class Extent:
    """How large a directory is; `newest` is when a file of it was last changed, None where it has none."""

    size_bytes: int
    newest: datetime | None


def entries(root: UPath, location: str) -> list[Entry]:
    """The names right below a directory, sorted; [] where it is not there."""
    if is_local(root):
        try:
            with os.scandir(local_path(root) / location) as found:
                listed = [Entry(entry.name, entry.is_dir(), entry.is_symlink()) for entry in found]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(listed, key=lambda entry: entry.name)
    result = _store(root).list_with_delimiter(location or None)
    directories = {prefix.rstrip("/").rpartition("/")[2] for prefix in result["common_prefixes"]}
    files = {meta["path"].rpartition("/")[2] for meta in result["objects"]}
    names = [Entry(name, is_directory=True, is_link=False) for name in directories]
    names += [Entry(name, is_directory=False, is_link=False) for name in files]
    return sorted(names, key=lambda entry: entry.name)


@dataclass(frozen=True)
class File:
    """A file at any depth."""

    location: str
    size_bytes: int
    changed: datetime


def files(root: UPath, location: str) -> list[File]:
    """Every file at any depth below a directory, sorted; links to directories are not followed."""
    if not is_local(root):
        found = list(_objects(root, location))
    else:
        base = local_path(root)
        found = [
            File(path.relative_to(base).as_posix(), status.st_size, _time(status))
            for path, status in _local_files(base / location)
        ]
    return sorted(found, key=lambda file: file.location)


def extent(root: UPath, location: str) -> Extent:
    """Of all files at any depth; of an empty local directory the time when it was emptied."""
    if is_local(root):
        return local_extent(local_path(root) / location)
    found = files(root, location)
    newest = max((file.changed for file in found), default=None)
    return Extent(sum(file.size_bytes for file in found), newest)


def local_extent(path: Path) -> Extent:
    """`extent` of a local directory or file."""
    statuses = [status for _, status in _local_files(path)]
    size_bytes = sum(status.st_size for status in statuses)
    own = _status(path)
    if not statuses and own is not None:
        statuses = [own]
    return Extent(size_bytes, max(map(_time, statuses), default=None))


def _local_files(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    if path.is_dir() and not path.is_symlink():
        found = [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    else:
        found = [path]
    for file in found:
        status = _status(file)
        if status is not None:
            yield file, status


def _time(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:  # gone since it was listed
        return None


def remove_directory(root: UPath, location: str, first: str) -> None:
    """Remove a directory, the file `first` before all others: without it nobody takes the rest for whole."""
    if is_local(root):
        folder = local_path(root) / location
        (folder / first).unlink(missing_ok=True)
        flush_directory(folder)
        shutil.rmtree(folder)
        return
    store = _store(root)
    store.delete(f"{location}/{first}")
    rest = [file.location for file in _objects(root, location)]
    if rest:
        store.delete(rest)


def remove_file(root: UPath, location: str) -> None:
    """Remove a file; nothing there is fine."""
    if is_local(root):
        (local_path(root) / location).unlink(missing_ok=True)
    else:
        _store(root).delete(location)


def _objects(root: UPath, location: str) -> Iterator[File]:
    for chunk in _store(root).list(location):  # whole parts of paths alone match: a/b finds no a/bc
        for meta in chunk:
            yield File(meta["path"], meta["size"], meta["last_modified"])


def _store(root: UPath) -> "obstore.store.S3Store":
    return open_store(str(root), patient=True)
