"""Words of collecting: who refers to whom, what was found, and what counts as young."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from upath import UPath

from storage.gc.survey import Build, Survey
from storage.transfer import is_local, local_path

Kind = Literal["build", "record", "picture", "work", "copy", "partial"]
Needs = Callable[[Survey, str, Mapping[str, str]], list[Build]]
"""The builds that one of this partition, with these inputs (name -> digest), refers to."""
DAY: Final = timedelta(days=1)
LONGEST_DAYS: Final = 36500


@dataclass(frozen=True)
class References:
    """Who refers to whom: what the rooms above know.

    Attributes:
        published: Asset -> what a published build of it refers to; assets that are not here refer to nothing.
            In an order in which none refers to a later one.
        building: Asset -> what a build of it reads while it goes on.
        roots: Builds that are kept whatever else, and why.
        root_assets: Assets that `roots` looks at.
        records: Directory below the root -> the file without which a directory in it was cut short.
        drawn: Directories below the root of files `<name>-<what it was drawn from>.<suffix>` that are drawn
            again where they are missing; of each name the newest is kept.
        known: Names right below the root that belong to others.
        known_scratch: The same of the scratch directory.
        remarks: What a person should know that is left alone.
    """

    published: Mapping[str, Needs]
    building: Mapping[str, Needs]
    roots: Callable[[Survey], Mapping[Build, str]]
    root_assets: frozenset[str] = frozenset()
    records: Mapping[str, str] = field(default_factory=dict)
    drawn: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    known_scratch: frozenset[str] = frozenset()
    remarks: Callable[[Survey], list[str]] = lambda _: []


@dataclass(frozen=True)
class Finding:
    """Something that can be removed.

    Attributes:
        kind: What it is.
        location: Below the root; an absolute path for what lies in a bucket's scratch directory.
        why: Why nothing needs it.
        size_bytes: What its removal frees.
        build: Where it is one.
        path: Where it is local and no build.
        work: The work directory whose lock guards it, of kind work.
    """

    kind: Kind
    location: str
    why: str
    size_bytes: int
    build: Build | None = None
    path: Path | None = None
    work: Path | None = None


@dataclass(frozen=True)
class Garbage:
    """What was found.

    Attributes:
        findings: What can be removed, in the order of removal: who refers before what is referred to.
        kept: Location of a build that is not current -> why it is kept.
        left_alone: What is not of the known layout or is damaged, and `References.remarks`.
    """

    findings: tuple[Finding, ...]
    kept: Mapping[str, str]
    left_alone: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Of all findings."""
        return sum(finding.size_bytes for finding in self.findings)


@dataclass(frozen=True)
class Moment:
    """When is now, and since when things count as young."""

    now: datetime
    young_since: datetime

    @staticmethod
    def of(keep_days: float, now: datetime | None = None) -> "Moment":
        """From the days for which things are kept.

        Raises:
            ValueError: fewer than none.
        """
        if not 0 <= keep_days <= LONGEST_DAYS:
            raise ValueError(f"keep_days is {keep_days}, need 0 to {LONGEST_DAYS}")
        now = now or datetime.now(UTC)
        return Moment(now, now - timedelta(days=keep_days))

    def is_young(self, when: datetime | None) -> bool:
        """Whether something of then is kept for its age; what has no time is not."""
        return when is not None and when > self.young_since

    def ago(self, when: datetime | None) -> str:
        """How long ago, in words."""
        return "at some time" if when is None else f"{(self.now - when) / DAY:.1f} days ago"


def shown_location(root: UPath, path: Path) -> str:
    """A local path as people read it: below the root where it lies there."""
    if is_local(root) and path.is_relative_to(local_path(root)):
        return path.relative_to(local_path(root)).as_posix()
    return str(path)
