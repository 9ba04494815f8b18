"""The work directory of a build: its lock, its cleaning, and the move that publishes it.

filelock is imported only when something is built.
"""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from storage.atomic import (
    PARTIAL_MARK,
    flush_directory,
    flush_file,
    remove,
    remove_dead_partials,
    write_atomically,
)
from storage.fingerprint import canonical_json, file_sha256
from storage.manifest import MANIFEST_NAME, FileRecord, Manifest

logger = logging.getLogger(__name__)


@contextmanager
def building_lock(work: Path) -> Generator[None, None, None]:
    """Hold the lock beside a work directory; waits while another process builds there.

    The operating system frees it with the process, however that ends; workers forked from it do not
    hold it (filelock 4 closes it in them).
    """
    from filelock import FileLock, Timeout

    work.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_path(work))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("waiting for another run that builds %s", work)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def lock_if_free(work: Path) -> Generator[bool, None, None]:
    """Hold the lock beside a work directory, or give False where another process builds there now."""
    from filelock import FileLock, Timeout

    work.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_path(work))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def lock_path(work: Path) -> Path:
    """The lock's file. It is never removed: who waits on it would hold the lock of a file that is gone."""
    return work.with_name(work.name + ".lock")


@contextmanager
def told_beside(work: Path, reads: Mapping[str, object]) -> Generator[None, None, None]:
    """Tell beside a work directory what the build reads, for as long as it goes on or can be gone on with.

    Who collects what nothing refers to must know what a long build still reads.
    """
    with write_atomically(reads_path(work)) as partial:
        partial.write_text(canonical_json(reads), "utf-8")
    yield
    reads_path(work).unlink(missing_ok=True)


def reads_path(work: Path) -> Path:
    """The file that `told_beside` writes."""
    return work.with_name(work.name + ".reads.json")


def prepare(work: Path, *, empty: bool) -> None:
    """Make a work directory ready: emptied, or with what a killed predecessor finished."""
    if empty:
        remove(work)
    work.mkdir(parents=True, exist_ok=True)
    remove_dead_partials(work)
    (work / MANIFEST_NAME).unlink(missing_ok=True)  # of a run killed just before it published


def collect_files(work: Path) -> dict[str, FileRecord]:
    """Flush and hash what a builder left; remove what is never published.

    Names that start with a dot or hold ``.partial-`` are the builder's own business.

    Raises:
        ValueError: a symbolic link (it would not survive the move) or a file named manifest.json.
    """
    for path in list(work.rglob("*")):
        if path.name.startswith(".") or PARTIAL_MARK in path.name:
            remove(path)
    records: dict[str, FileRecord] = {}
    for path in sorted(work.rglob("*")):
        if path.is_symlink() or path == work / MANIFEST_NAME:
            raise ValueError(f"{path} cannot be published: a link, or the name of the manifest")
        if path.is_dir():
            flush_directory(path)
        else:
            flush_file(path)
            name = path.relative_to(work).as_posix()
            records[name] = FileRecord(path.stat().st_size, file_sha256(path))
    flush_directory(work)
    return records


def place_locally(work: Path, manifest: Manifest, target: Path) -> None:
    """Publish a work directory as `target`: the manifest last, then one rename.

    What lies at `target` is removed: the caller has found it damaged.
    """
    with write_atomically(work / MANIFEST_NAME) as partial:
        partial.write_text(manifest.to_json())
    target.parent.mkdir(parents=True, exist_ok=True)
    discarded = work.with_name(work.name + ".discarded")
    remove(discarded)
    if target.exists():
        target.rename(discarded)
    work.rename(target)
    flush_directory(target.parent)
    remove(discarded)
