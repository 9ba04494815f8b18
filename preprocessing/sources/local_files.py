"""Local sources as files that may vanish, change or be something else: checked before they are opened."""

import hashlib
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from preprocessing.media.container import RefusedVideo
from preprocessing.worker_limits import note_progress

HASH_CHUNK_BYTES: Final = 2**20


def file_state(path: Path) -> str:
    """Which file is at `path`, without reading it: size, modification time (ns) and inode, or what is wrong.

    Two equal states are the same file with the same content, as far as the file system says.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError as error:
        return f"not accessible: {error.strerror}"
    if not os.access(path, os.R_OK):
        return "not accessible: no permission to read it"
    if not stat.S_ISREG(status.st_mode):
        return "not a file"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def check_is_file(path: Path) -> None:
    """Refuse what is no regular file; opening a pipe or a device may wait forever.

    Raises:
        RefusedVideo: `source_missing`, `not_a_file` or `not_accessible`.
    """
    state = file_state(path)
    if state == "missing":
        raise RefusedVideo("source_missing", f"{path} does not exist any more")
    if state == "not a file":
        kind = "a folder" if path.is_dir() else "a pipe, a socket or a device"
        raise RefusedVideo("not_a_file", f"{path} is {kind}")
    if state.startswith("not accessible"):
        raise RefusedVideo("not_accessible", f"{path}: {state}")


@contextmanager
def unchanged_file(path: Path, video_id: str) -> Generator[None, None, None]:
    """Hash a file, and check after the block that it is still the same one.

    Reading it again for the decoder costs little: a video of usual size is then in the page cache.

    Args:
        path: the file.
        video_id: first 16 hex digits of the content's sha256.

    Raises:
        RefusedVideo: as `check_is_file`; `source_changed`: it has other content, or it was changed during the
            block.
    """
    check_is_file(path)
    before = file_state(path)
    try:
        sha256 = hash_file(path)
    except OSError as error:
        raise RefusedVideo("not_accessible", f"{path}: {error.strerror or error}") from error
    if not sha256.startswith(video_id):
        raise RefusedVideo("source_changed", f"{path} has other content: sha256 {sha256[:16]}")
    try:
        yield
    finally:
        # Also if the block failed: what it read may be neither the old content nor the new.
        check_is_file(path)
        if file_state(path) != before:
            raise RefusedVideo("source_changed", f"{path} was changed while being read")


def hash_file(path: Path) -> str:
    """Sha256 of a file's content, hex."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(HASH_CHUNK_BYTES):
            digest.update(chunk)
            note_progress()
    return digest.hexdigest()
