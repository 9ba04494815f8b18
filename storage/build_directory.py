"""The work directory of a build: lock, cleanup, and the rename that publishes it.

filelock is imported only for a build.
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
from storage.manifest import MANIFEST_NAME, FileRecord, Input, Manifest

logger = logging.getLogger(__name__)


@contextmanager
def building_lock(work: Path) -> Generator[None, None, None]:
    """Hold the lock of a work directory; waits while another process holds it.

    The operating system releases it when the process ends. Forked workers do not hold it (filelock 4 closes
    it in them).
    """
    from filelock import FileLock, Timeout

    work.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_path(work))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("Waiting for another process that builds in %s", work)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def lock_if_free(work: Path) -> Generator[bool, None, None]:
    """Hold the lock of a work directory and yield True; yield False if another process holds it."""
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
    """Path of the lock file. It stays when it is released; `storage.gc.removal` removes it, held."""
    return work.with_name(work.name + ".lock")


@contextmanager
def recorded_inputs(work: Path, inputs: Mapping[str, Input]) -> Generator[None, None, None]:
    """Record a build's inputs beside its work directory, until the build is published.

    They stay when the build fails, because it can be resumed. `storage.gc` keeps what they refer to.
    """
    with write_atomically(inputs_path(work)) as partial:
        partial.write_text(canonical_json({"inputs": inputs}), "utf-8")
    yield
    inputs_path(work).unlink(missing_ok=True)


def inputs_path(work: Path) -> Path:
    """The file that `recorded_inputs` writes."""
    return work.with_name(work.name + ".inputs.json")


def prepare(work: Path, *, empty: bool) -> None:
    """Create a work directory: empty, or with the complete files of an interrupted run."""
    if empty:
        remove(work)
    work.mkdir(parents=True, exist_ok=True)
    remove_dead_partials(work)
    (work / MANIFEST_NAME).unlink(missing_ok=True)  # of a run killed just before publishing


def collect_files(work: Path) -> dict[str, FileRecord]:
    """Flush and hash the files of a finished build.

    Names that start with a dot or contain ``.partial-`` are not published: they are removed.

    Raises:
        ValueError: a symbolic link (it would not survive the move) or a file named manifest.json.
    """
    for path in list(work.rglob("*")):
        if path.name.startswith(".") or PARTIAL_MARK in path.name:
            remove(path)
    records: dict[str, FileRecord] = {}
    for path in sorted(work.rglob("*")):
        if path.is_symlink() or path == work / MANIFEST_NAME:
            raise ValueError(f"{path} cannot be published: it is a symbolic link or named {MANIFEST_NAME}")
        if path.is_dir():
            flush_directory(path)
        else:
            flush_file(path)
            name = path.relative_to(work).as_posix()
            records[name] = FileRecord(path.stat().st_size, file_sha256(path))
    flush_directory(work)
    return records


def place_locally(work: Path, manifest: Manifest, target: Path) -> None:
    """Publish a work directory as `target`: write the manifest, then rename.

    An existing `target` is removed; the caller has found it damaged.
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
