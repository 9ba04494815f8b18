"""Atomic writes: a file is complete or absent, also after a SIGKILL or a power failure."""

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from storage.disk import PARTIAL_MARK, disk_errors_at

PARTIAL_OWNER: Final = re.compile(r"\.partial-(\d+)-[0-9a-f]+")


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Generator[Path, None, None]:
    """Yield a temporary path; if the block succeeds, flush it and rename it to `path`.

    The temporary file is in the same directory and has the same suffix, since writers of images and sound
    choose the format by it: ``face.png`` is written as ``face.partial-<process>-<random>.png``. An exception
    in the block removes it and leaves `path` unchanged. The directory is created if needed.

    Raises:
        FileNotFoundError: the block succeeded but wrote nothing.
        DiskError: the disk is full or read-only, or the user has no permission.
    """
    target = Path(path)
    with disk_errors_at(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_path(target)
        try:
            yield partial
            flush_file(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        flush_directory(target.parent)


def partial_path(target: Path) -> Path:
    """A unique path beside `target`, with the id of this process in its name and the same suffix."""
    mark = f"{PARTIAL_MARK}{os.getpid()}-{secrets.token_hex(4)}"
    return target.with_name(f"{target.stem}{mark}{target.suffix}")


def remove_dead_partials(directory: Path) -> None:
    """Remove, at any depth, partial files of processes that have ended.

    Those of live processes stay: an orphaned worker of a killed run may still be writing.
    """
    for partial in list(directory.rglob(f"*{PARTIAL_MARK}*")):
        owner = PARTIAL_OWNER.search(partial.name)
        if owner is not None and not is_alive(int(owner.group(1))):
            remove(partial)


def is_alive(process: int) -> bool:
    """Whether a process with this id runs on this machine, of any user."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def remove(path: Path) -> None:
    """Remove a file, link or directory tree if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder into another one, which need not exist.

    The first error is raised as it is: that of `shutil.copytree` does not say whether the disk was full.
    """
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_dir():
            copy_folder(path, target / path.name)
        else:
            shutil.copy2(path, target / path.name)


def make_temporary_folder(name: str) -> Path:
    """A new folder outside any root, for this user alone; removes those that killed processes left behind.

    Args:
        name: what it is for, in its name.
    """
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"pdfgc-{name}{PARTIAL_MARK}*"):
        owner = PARTIAL_OWNER.search(left.name)
        if owner is not None and not is_alive(int(owner.group(1))):
            shutil.rmtree(left, ignore_errors=True)  # it may be another user's
    folder = partial_path(base / f"pdfgc-{name}")
    folder.mkdir(mode=0o700)
    return folder


@contextmanager
def temporary_folder(name: str) -> Generator[Path, None, None]:
    """As `make_temporary_folder`, removed afterwards."""
    folder = make_temporary_folder(name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def flush_file(path: Path) -> None:
    """Flush a file to the disk (fsync)."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_directory(path: Path) -> None:
    """Flush a directory to the disk: only then does a rename survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
