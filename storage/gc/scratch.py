"""What lies in the scratch directory: work directories, local copies of a bucket's builds, partial files.

Knows the layout of `storage.publishing.materialise` and `storage.root.local_copy`.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from storage.atomic import PARTIAL_OWNER, is_alive
from storage.build_directory import inputs_path, lock_if_free, lock_path
from storage.integrity.verified import VERIFIED
from storage.objects import Extent, local_extent

WORK_NAME: Final = re.compile(r"[0-9a-f]{16}")
LEFTOVER_NAME: Final = re.compile(r"([0-9a-f]{16})\.(discarded|inputs\.json)")
COPY_NAME: Final = re.compile(r"[0-9a-f]{64}")
CACHE: Final = "cache"


@dataclass(frozen=True)
class Work:
    """A build's work directory, or a file left beside one that is gone.

    Attributes:
        path: The directory or file.
        work: The work directory it belongs to; the lock lies beside it.
        extent: Size and time of the last change.
        locked: A process of this machine builds there.
        input_locations: Locations of the builds that the build reads.
    """

    path: Path
    asset: str
    partition: str
    work: Path
    extent: Extent
    locked: bool
    input_locations: tuple[str, ...]

    @property
    def is_build(self) -> bool:
        """Whether it is a work directory, in which a build can resume."""
        return self.path == self.work


@dataclass(frozen=True)
class Scratch:
    """The contents of the scratch directory."""

    works: tuple[Work, ...]
    copies: tuple[tuple[Path, Extent], ...]  # with the time of their last use
    partitions: tuple[Path, ...]  # directories that hold work directories
    unknown: tuple[Path, ...]


def survey_scratch(scratch: Path, ignored: Iterable[str]) -> Scratch:
    """List the scratch directory.

    Args:
        scratch: from `storage.root.scratch_directory`.
        ignored: names in it that are not listed.

    Raises:
        ValueError: the record of a build's inputs is damaged.
    """
    skipped = {*ignored, CACHE, VERIFIED}
    assets = [path for path in _children(scratch) if path.name not in skipped and not _is_partial(path)]
    partitions = [path for asset in assets for path in _children(asset)]
    entries = [entry for partition in partitions for entry in _children(partition)]
    works = [work for entry in entries if (work := _work(entry)) is not None]
    cached = [entry for entry in _children(scratch / CACHE) if not _is_partial(entry)]
    copies = [
        (copy, Extent(local_extent(copy).size_bytes, last_used(copy)))
        for copy in cached
        if COPY_NAME.fullmatch(copy.name)
    ]
    unknown = [path for path in assets if not path.is_dir()]
    unknown += [entry for entry in entries if not _is_known(entry)]
    unknown += [entry for entry in cached if not COPY_NAME.fullmatch(entry.name)]
    return Scratch(tuple(works), tuple(copies), tuple(partitions), tuple(unknown))


def last_used(copy: Path) -> datetime:
    """When a copy was last used; `local_copy` sets the directory's time."""
    return datetime.fromtimestamp(copy.stat().st_mtime, UTC)


def dead_partials(directories: Iterable[Path]) -> list[Path]:
    """Partial files directly in these directories whose process on this machine is gone."""
    paths = [path for directory in directories for path in _children(directory)]
    owners = [(path, PARTIAL_OWNER.search(path.name)) for path in paths]
    return [path for path, owner in owners if owner is not None and not is_alive(int(owner.group(1)))]


def is_locked(work: Path) -> bool:
    """Whether a process of this machine builds in a work directory."""
    if not lock_path(work).exists():
        return False
    with lock_if_free(work) as free:
        return not free


def _work(path: Path) -> Work | None:
    """A work directory or a leftover of one; files beside an existing work directory belong to it."""
    if WORK_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
        return _as_work(path, path)
    leftover = LEFTOVER_NAME.fullmatch(path.name)
    if leftover is None:
        return None
    work = path.with_name(leftover.group(1))
    return None if path == inputs_path(work) and work.is_dir() else _as_work(path, work)


def _is_known(path: Path) -> bool:
    names = (WORK_NAME, LEFTOVER_NAME)
    return path.suffix == ".lock" or _is_partial(path) or any(name.fullmatch(path.name) for name in names)


def _as_work(path: Path, work: Path) -> Work:
    partition, asset = path.parent.name, path.parent.parent.name
    return Work(path, asset, partition, work, local_extent(path), is_locked(work), _input_locations(work))


def _input_locations(work: Path) -> tuple[str, ...]:
    path = inputs_path(work)
    try:
        record: Any = json.loads(path.read_text("utf-8"))
        locations = [value["location"] for value in record["inputs"].values()]
        return tuple(location for location in locations if location)
    except FileNotFoundError:
        return ()
    except (AttributeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove it if no build is running") from error


def _is_partial(path: Path) -> bool:
    return PARTIAL_OWNER.search(path.name) is not None


def _children(directory: Path) -> Iterator[Path]:
    try:
        yield from sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
