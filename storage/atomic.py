"""Files that are there whole or not at all, also after a SIGKILL or a power cut."""

import os
import re
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PARTIAL_MARK: Final = ".partial-"
PARTIAL_OWNER: Final = re.compile(r"\.partial-(\d+)-[0-9a-f]+")


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Generator[Path, None, None]:
    """Give a path to write to; when the block ends well, it becomes `path`, flushed to the disk.

    The path given lies in the same directory and keeps the suffix (writers of pictures and sound
    choose the format by it): ``face.png`` is written as ``face.partial-<process>-<random>.png``.
    An exception in the block removes it and leaves `path` as it was. The directory is made if needed.

    Raises:
        FileNotFoundError: the block ended well and wrote nothing.
    """
    target = Path(path)
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
    """A name beside `target` that no one else uses, with this process in it and the same suffix."""
    mark = f"{PARTIAL_MARK}{os.getpid()}-{secrets.token_hex(4)}"
    return target.with_name(f"{target.stem}{mark}{target.suffix}")


def remove_dead_partials(directory: Path) -> None:
    """Remove, at any depth, what `write_atomically` left in processes that are gone.

    A live process keeps its own: an orphaned worker of a killed run may still be writing.
    """
    for partial in list(directory.rglob(f"*{PARTIAL_MARK}*")):
        owner = PARTIAL_OWNER.search(partial.name)
        if owner is not None and not is_alive(int(owner.group(1))):
            remove(partial)


def is_alive(process: int) -> bool:
    """Whether a process of this number runs on this machine, whoever owns it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def remove(path: Path) -> None:
    """Remove a file, link or whole directory; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush_file(path: Path) -> None:
    """Bring a file's bytes to the disk (fsync)."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_directory(path: Path) -> None:
    """Bring a directory's names to the disk: a rename outlives a power cut only after this."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
