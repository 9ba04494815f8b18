"""Files under a root, the same way for a local directory and a bucket: read, write, list, remove.

Locations are paths relative to the root with forward slashes, "" the root itself. obstore is imported only
for a bucket.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from upath import UPath

from storage.atomic import flush_directory, write_atomically
from storage.fingerprint import file_sha256
from storage.remote.bucket import (
    find_object,
    get_bytes,
    list_directory,
    list_objects,
    open_store,
    read_chunks,
)

if TYPE_CHECKING:
    import obstore.store


@dataclass(frozen=True)
class Entry:
    """A name in a directory; `is_directory` follows links."""

    name: str
    is_directory: bool
    is_link: bool


@dataclass(frozen=True)
class File:
    """A file at any depth."""

    location: str
    size_bytes: int
    changed: datetime


class ChangedMeanwhileError(Exception):
    """Another machine replaced an object since it was read."""


@dataclass(frozen=True)
class Extent:
    """Size of a directory, and when a file of it was last changed (None: it has no file)."""

    size_bytes: int
    newest: datetime | None


def is_local(path: UPath) -> bool:
    """Whether a path is in this machine's file system."""
    return isinstance(path, Path)


def local_path(path: UPath) -> Path:
    """A local UPath as a plain path."""
    return Path(path.path)


def read_bytes(path: UPath) -> bytes:
    """The bytes of a file or object. Raises FileNotFoundError."""
    if is_local(path):
        return local_path(path).read_bytes()
    store, key = _open(path)
    return get_bytes(store, key)[0]


def size_bytes(path: UPath) -> int:
    """Size of a file or object. Raises FileNotFoundError."""
    if is_local(path):
        return local_path(path).stat().st_size
    store, key = _open(path)
    return find_object(store, key).size_bytes


def read_remote_chunks(path: UPath) -> Iterator[bytes]:
    """The bytes of an object, in chunks. Raises FileNotFoundError."""
    store, key = _open(path)
    yield from read_chunks(store, find_object(store, key))


def read_range(path: UPath, start: int, end: int) -> bytes:
    """Bytes `start` to `end` of a file or object, fewer at its end. Raises FileNotFoundError."""
    if is_local(path):
        with local_path(path).open("rb") as file:
            file.seek(start)
            return file.read(end - start)
    store, key = _open(path)
    return get_bytes(store, key, (start, end))[0]


def read_sha256(path: UPath) -> str:
    """sha256 of a file or object, 64 hex digits. Raises FileNotFoundError."""
    if is_local(path):
        return file_sha256(local_path(path))
    digest = hashlib.sha256()
    for chunk in read_remote_chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def write_bytes(path: UPath, data: bytes) -> None:
    """Replace a file or object atomically."""
    if is_local(path):
        with write_atomically(local_path(path)) as partial:
            partial.write_bytes(data)
    else:
        store, key = _open(path)
        store.put(key, data)


def read_tagged(path: UPath) -> tuple[bytes | None, str]:
    """The bytes of a file or object, None if there is none, and the tag that `replace_bytes` compares."""
    try:
        if is_local(path):
            return local_path(path).read_bytes(), ""
        store, key = _open(path)
        return get_bytes(store, key)
    except FileNotFoundError:
        return None, ""


def replace_bytes(path: UPath, data: bytes, tag: str) -> str:
    """Replace an object if it is still the one that `read_tagged` gave, by a conditional put.

    A local file is replaced as by `write_bytes`: whoever changes it holds a file lock. So is an object of a
    store without conditional puts (AWS_CONDITIONAL_PUT=disabled); there one machine may write at a time.

    Args:
        path: of the file or object.
        data: its new bytes.
        tag: from `read_tagged`; "": there was none.

    Returns:
        The new tag.

    Raises:
        ChangedMeanwhileError: another machine replaced or created it.
    """
    if is_local(path):
        write_bytes(path, data)
        return ""
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    store, key = _open(path)
    try:
        result = store.put(key, data, mode={"e_tag": tag} if tag else "create")
    except NotImplementedError:
        result = store.put(key, data)
    except (AlreadyExistsError, PreconditionError) as error:
        found, new_tag = read_tagged(path)
        if found == data:  # written after all: the answer to the first attempt was lost
            return new_tag
        raise ChangedMeanwhileError(f"{path} was replaced by another machine meanwhile") from error
    return result["e_tag"] or ""


def upload_file(local: Path, path: UPath) -> None:
    """Upload a local file to a bucket."""
    store, key = _open(path)
    store.put(key, local)


def entries(root: UPath, location: str) -> list[Entry]:
    """The names in a directory, sorted; [] if it does not exist."""
    if is_local(root):
        try:
            with os.scandir(local_path(root) / location) as found:
                listed = [Entry(entry.name, entry.is_dir(), entry.is_symlink()) for entry in found]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(listed, key=lambda entry: entry.name)
    store, key = _open(root, location)
    folders, keys = list_directory(store, key)
    directories = {folder.rstrip("/").rpartition("/")[2] for folder in folders}
    objects = {each.rpartition("/")[2] for each in keys}
    names = [Entry(name, is_directory=True, is_link=False) for name in directories]
    names += [Entry(name, is_directory=False, is_link=False) for name in objects]
    return sorted(names, key=lambda entry: entry.name)


def files(root: UPath, location: str) -> list[File]:
    """Every file at any depth below a directory, sorted; links to directories are not followed."""
    if is_local(root):
        base = local_path(root)
        found = [
            File(path.relative_to(base).as_posix(), status.st_size, _time(status))
            for path, status in _local_files(base / location)
        ]
    else:
        store, key = _open(root, location)
        prefix = _open(root)[1]
        found = [
            File(info.key.removeprefix(prefix).lstrip("/"), info.size_bytes, info.modified)
            for info in list_objects(store, key)
        ]
    return sorted(found, key=lambda file: file.location)


def extent(root: UPath, location: str) -> Extent:
    """Of all files at any depth; the time of an empty local directory is its own."""
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


def remove_directory(root: UPath, location: str, first: str) -> None:
    """Remove a directory, its file `first` before all others: without it the rest counts as incomplete."""
    if is_local(root):
        folder = local_path(root) / location
        (folder / first).unlink(missing_ok=True)
        flush_directory(folder)
        shutil.rmtree(folder)
        return
    store, key = _open(root, location)
    store.delete(f"{key}/{first}")
    rest = [info.key for info in list_objects(store, key)]
    if rest:
        store.delete(rest)


def exists(root: UPath, location: str) -> bool:
    """Whether there is a file, or a folder with anything in it."""
    if is_local(root):
        return os.path.lexists(local_path(root) / location)
    parent, _, name = location.rpartition("/")
    return any(entry.name == name for entry in entries(root, parent))


def move(root: UPath, location: str, target: str, first: str) -> None:
    """Move a file or folder below the root.

    In a bucket every object is copied before the first is removed, and the folder's file `first` is removed
    before the others: without it the rest counts as incomplete.
    """
    if is_local(root):
        base = local_path(root)
        (base / target).parent.mkdir(parents=True, exist_ok=True)
        (base / location).rename(base / target)
        flush_directory((base / location).parent)
        flush_directory((base / target).parent)
        return
    store, key = _open(root, location)
    new = _open(root, target)[1]
    keys = [info.key for info in list_objects(store, key)] or [key]
    for each in keys:
        store.copy(each, new + each.removeprefix(key))
    if keys == [key]:
        store.delete(key)
    else:
        remove_directory(root, location, first)


def remove_file(root: UPath, location: str) -> None:
    """Remove a file or object if it exists."""
    if is_local(root):
        (local_path(root) / location).unlink(missing_ok=True)
    else:
        store, key = _open(root, location)
        store.delete(key)


def _open(path: UPath, location: str = "") -> "tuple[obstore.store.S3Store, str]":
    """The bucket of a path, and the key of a location below the path."""
    bucket, _, key = path.path.strip("/").partition("/")
    return open_store(f"s3://{bucket}", patient=True), f"{key}/{location}".strip("/")


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
    except FileNotFoundError:  # removed since it was listed
        return None
