"""Types of garbage collection: what lies under a root, how long things are kept, and what was found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from upath import UPath

from storage.gc.survey import Build
from storage.objects import is_local, local_path

Kind = Literal["build", "record", "picture", "work", "copy", "partial"]
DAY: Final = timedelta(days=1)
MAXIMUM_DAYS: Final = 36500


@dataclass(frozen=True)
class Layout:
    """What lies under a root beside `assets/`.

    Attributes:
        records: Directory below the root -> the file without which a subdirectory of it is incomplete.
        redrawn: Directories below the root with files `<name>-<digest>.<suffix>` that are drawn again when
            missing; of each name the newest is kept.
        ignored: Names in the root that are left alone.
        ignored_scratch: Names in the scratch directory that are left alone.
    """

    records: Mapping[str, str] = field(default_factory=dict)
    redrawn: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    ignored_scratch: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RetentionWindow:
    """The present, and the time since when things are kept for being recent."""

    now: datetime
    recent_since: datetime

    @staticmethod
    def of(keep_days: float, now: datetime | None = None) -> "RetentionWindow":
        """The window of a number of days.

        Raises:
            ValueError: the number is out of range.
        """
        if not 0 <= keep_days <= MAXIMUM_DAYS:
            raise ValueError(f"keep_days must be 0 to {MAXIMUM_DAYS}, got {keep_days}")
        now = now or datetime.now(UTC)
        return RetentionWindow(now, now - timedelta(days=keep_days))

    def is_recent(self, time: datetime | None) -> bool:
        """Whether a time is inside the window; an unknown time is not."""
        return time is not None and time > self.recent_since

    def ago(self, time: datetime | None) -> str:
        """How long ago a time is, in words."""
        return "at an unknown time" if time is None else f"{(self.now - time) / DAY:.1f} days ago"


@dataclass(frozen=True)
class Finding:
    """Something that can be removed.

    Attributes:
        kind: What it is.
        location: Below the root; an absolute path in the scratch directory of a bucket.
        reason: Why it is not needed.
        size_bytes: Freed by its removal.
        build: Set for the kind "build".
        path: Set for local kinds other than "build".
        work: The work directory whose lock guards it, for the kind "work".
    """

    kind: Kind
    location: str
    reason: str
    size_bytes: int
    build: Build | None = None
    path: Path | None = None
    work: Path | None = None


@dataclass(frozen=True)
class Unreferenced:
    """The result of a search.

    Attributes:
        findings: What can be removed, in the order of removal: a build before its inputs.
        kept: Location of a build that is not current -> why it is kept.
        unknown: Locations outside of the known layout; they are left alone.
        partitions: Every (asset, partition) under the root.
        self_contained: Assets whose builds keep no other builds.
    """

    findings: tuple[Finding, ...]
    kept: Mapping[str, str]
    unknown: tuple[str, ...]
    partitions: frozenset[tuple[str, str]] = frozenset()
    self_contained: frozenset[str] = frozenset()

    @property
    def size_bytes(self) -> int:
        """Of all findings."""
        return sum(finding.size_bytes for finding in self.findings)


def shown_location(root: UPath, path: Path) -> str:
    """A local path for messages: relative to the root if it is below it."""
    if is_local(root) and path.is_relative_to(local_path(root)):
        return path.relative_to(local_path(root)).as_posix()
    return str(path)
