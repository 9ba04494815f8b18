"""What lies where building goes on: work directories, copies of a bucket's directories, half-written files.

Knows the layout of `storage.publishing.materialise` and `storage.root.local_copy`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from storage.atomic import PARTIAL_OWNER, is_alive
from storage.build_directory import lock_if_free, lock_path, reads_path
from storage.listing import Extent, local_extent

WORK_NAME: Final = re.compile(r"[0-9a-f]{16}")
LEFT_NAME: Final = re.compile(r"([0-9a-f]{16})\.(discarded|reads\.json)")
COPY_NAME: Final = re.compile(r"[0-9a-f]{64}")
CACHE: Final = "cache"


@dataclass(frozen=True)
class Work:
    """A build's work directory, or what is left beside one that is gone.

    Attributes:
        path: The directory, or the file.
        work: The work directory that it belongs to; its lock lies beside it.
        extent: Size and age.
        locked: It is being built in now, on this machine.
        reads: Input's name -> digest, as the build told; None where it did not.
    """

    path: Path
    asset: str
    partition: str
    work: Path
    extent: Extent
    locked: bool
    reads: Mapping[str, str] | None

    @property
    def is_build(self) -> bool:
        """A work directory that a build can go on in."""
        return self.path == self.work


@dataclass(frozen=True)
class Scratch:
    """What was found."""

    works: tuple[Work, ...]
    copies: tuple[tuple[Path, Extent], ...]  # and when they were last asked for
    partitions: tuple[Path, ...]  # directories of work directories
    unknown: tuple[Path, ...]


def survey_scratch(scratch: Path, known: Iterable[str]) -> Scratch:
    """Look at the scratch directory.

    Args:
        scratch: from `storage.root.scratch_directory`.
        known: names right in it that belong to others, which are left alone.

    Raises:
        ValueError: what a build told that it reads is damaged.
    """
    passed = {*known, CACHE}
    tops = [path for path in _below(scratch) if path.name not in passed and not _is_partial(path)]
    partitions = [path for top in tops for path in _below(top)]
    entries = [entry for partition in partitions for entry in _below(partition)]
    works = [work for entry in entries if (work := _work(entry)) is not None]
    named = [entry for entry in _below(scratch / CACHE) if not _is_partial(entry)]
    found = [entry for entry in named if COPY_NAME.fullmatch(entry.name)]
    copies = [(copy, Extent(local_extent(copy).size_bytes, last_used(copy))) for copy in found]
    unknown = [path for path in tops if not path.is_dir()]
    unknown += [entry for entry in entries if not _is_known(entry)]
    unknown += [entry for entry in named if not COPY_NAME.fullmatch(entry.name)]
    return Scratch(tuple(works), tuple(copies), tuple(partitions), tuple(unknown))


def last_used(copy: Path) -> datetime:
    """When a copy was last asked for: `local_copy` notes that as the directory's own time."""
    return datetime.fromtimestamp(copy.stat().st_mtime, UTC)


def dead_partials(directories: Iterable[Path]) -> list[Path]:
    """What `write_atomically` left right in these directories in processes that are gone from here."""
    found = [path for directory in directories for path in _below(directory)]
    owners = [(path, PARTIAL_OWNER.search(path.name)) for path in found]
    return [path for path, owner in owners if owner is not None and not is_alive(int(owner.group(1)))]


def is_locked(work: Path) -> bool:
    """Whether a process of this machine builds in a work directory now."""
    if not lock_path(work).exists():
        return False
    with lock_if_free(work) as free:
        return not free


def _work(path: Path) -> Work | None:
    """A work directory, or what was left of one; what lies beside one that is there belongs to it."""
    if WORK_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
        return _left(path, path)
    left = LEFT_NAME.fullmatch(path.name)
    if left is None:
        return None
    work = path.with_name(left.group(1))
    return None if path == reads_path(work) and work.is_dir() else _left(path, work)


def _is_known(path: Path) -> bool:
    names = (WORK_NAME, LEFT_NAME)
    return path.suffix == ".lock" or _is_partial(path) or any(name.fullmatch(path.name) for name in names)


def _left(path: Path, work: Path) -> Work:
    partition, asset = path.parent.name, path.parent.parent.name
    return Work(path, asset, partition, work, local_extent(path), is_locked(work), _reads(work))


def _reads(work: Path) -> Mapping[str, str] | None:
    path = reads_path(work)
    try:
        told: Any = json.loads(path.read_text("utf-8"))
        return dict(told["inputs"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove it if nothing is built") from error


def _is_partial(path: Path) -> bool:
    return PARTIAL_OWNER.search(path.name) is not None


def _below(directory: Path) -> Iterator[Path]:
    try:
        yield from sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
