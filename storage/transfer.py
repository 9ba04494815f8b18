"""Reading, writing and listing under a root, the same way for a local directory and a bucket."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

from upath import UPath

from storage.atomic import flush_file, write_atomically
from storage.fingerprint import file_sha256
from storage.manifest import MANIFEST_NAME, Manifest

PIECE_BYTES: Final = 8 << 20  # of an object read at a time: a shard never lies in memory whole


def is_local(path: UPath) -> bool:
    """Whether a path lies on this machine's own file system."""
    return isinstance(path, Path)


def local_path(path: UPath) -> Path:
    """A local UPath as a plain path."""
    return Path(path.path)


def read_bytes(path: UPath) -> bytes:
    """A file's or object's bytes. Raises FileNotFoundError where there is none."""
    if is_local(path):
        return local_path(path).read_bytes()
    return cast("bytes", path.fs.cat_file(path.path))


def read_sha256(path: UPath) -> str:
    """sha256 of a file's or object's bytes, read in pieces. Raises FileNotFoundError."""
    if is_local(path):
        return file_sha256(local_path(path))
    digest = hashlib.sha256()
    for piece in _remote_pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def write_bytes(path: UPath, data: bytes) -> None:
    """Write a file or object so that readers see the old bytes or the new ones, whole."""
    if is_local(path):
        with write_atomically(local_path(path)) as partial:
            partial.write_bytes(data)
    else:
        path.fs.pipe_file(path.path, data)


def file_sizes(directory: UPath) -> dict[str, int]:
    """Size in bytes of every file at any depth, by path below `directory`; {} where it is not there."""
    if is_local(directory):
        base = local_path(directory)
        files = (path for path in base.rglob("*") if path.is_file())
        return {path.relative_to(base).as_posix(): path.stat().st_size for path in files}
    prefix = directory.path.rstrip("/") + "/"
    found = cast("dict[str, Any]", directory.fs.find(prefix.rstrip("/"), detail=True))
    return {name.removeprefix(prefix): int(entry["size"]) for name, entry in found.items()}


def damage(directory: UPath, manifest: Manifest) -> str | None:
    """The first thing that a published directory lacks of its manifest, by names and sizes only."""
    sizes = file_sizes(directory)
    for name, record in manifest.files.items():
        if name not in sizes:
            return f"file {name} is missing"
        if sizes[name] != record.size_bytes:
            return f"file {name} has {sizes[name]} bytes instead of {record.size_bytes}"
    return None


def upload(local: Path, manifest: Manifest, directory: UPath) -> None:
    """Upload the manifest's files, and the manifest itself after all of them."""
    for name in sorted(manifest.files):
        directory.fs.put_file(str(local / name), (directory / name).path)
    write_bytes(directory / MANIFEST_NAME, manifest.to_json().encode())


def download(directory: UPath, manifest: Manifest, local: Path) -> None:
    """Download the manifest's files into a new directory, checking each.

    Raises:
        FileNotFoundError: a file of the manifest is not there.
        ValueError: a file's sha256 is not the manifest's.
    """
    for name, record in manifest.files.items():
        target = local / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as copy:
            for piece in _remote_pieces(directory / name):
                copy.write(piece)
        flush_file(target)
        sha256 = file_sha256(target)
        if sha256 != record.sha256:
            raise ValueError(f"{directory / name} has sha256 {sha256}, its manifest says {record.sha256}")
    local.mkdir(parents=True, exist_ok=True)
    (local / MANIFEST_NAME).write_text(manifest.to_json())


def _remote_pieces(path: UPath) -> Iterator[bytes]:
    size_bytes = int(path.fs.info(path.path)["size"])
    for start in range(0, size_bytes, PIECE_BYTES):
        end = min(start + PIECE_BYTES, size_bytes)
        yield cast("bytes", path.fs.cat_file(path.path, start=start, end=end))
