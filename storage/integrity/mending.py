"""The part of a repair that knows no asset.

Damaged builds are set aside, what was made from them is marked, pointers name the newest build that is in
order. Every action can be killed and done again. Marks come first, so that what depends on a build is known
after that build was set aside.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from upath import UPath

from storage.integrity.builds import BuildsFound, PartitionFound, name_of
from storage.integrity.faults import Fault
from storage.integrity.quarantine import set_aside
from storage.integrity.suspect import mark_suspect
from storage.objects import exists
from storage.pointer import CURRENT_NAME, point_to
from storage.printable import printable
from storage.publishing import ASSETS

logger = logging.getLogger(__name__)

OF_BUILDS: Final = frozenset({"manifest", "file", "dataset"})
"""Kinds of faults by which a build is damaged."""


@dataclass(frozen=True)
class Action:
    """One step of a repair: what it does in words, and doing it."""

    line: str
    do: Callable[[], None]


@dataclass(frozen=True)
class BuildRepair:
    """What is done to builds.

    Attributes:
        damaged: Locations of builds that are set aside -> the first fault.
        suspect: Locations of builds that were made from those, directly or not -> the reason.
        actions: In order.
    """

    damaged: dict[str, str]
    suspect: dict[str, str]
    actions: tuple[Action, ...]


def plan_builds(root: UPath, builds: BuildsFound, faults: Iterable[Fault]) -> BuildRepair:
    """Plan what is done about damaged builds and pointers."""
    faults = list(faults)
    damaged: dict[str, str] = {}
    for fault in faults:
        if fault.kind in OF_BUILDS and fault.build and exists(root, fault.build):
            damaged.setdefault(fault.build, f"{fault.path}: expected {fault.expected}, found {fault.found}")
    suspect = {fault.build: fault.found for fault in faults if fault.kind == "suspect"}
    marks: list[Action] = []
    for location in damaged:
        for reader in builds.affected_by(location):
            if reader not in damaged and reader not in suspect:
                suspect[reader] = f"made from {location}, which was damaged"
                marks.append(_mark(root, reader, suspect[reader]))
    asides = [_set_aside(root, location, why) for location, why in damaged.items()]
    asides += [
        _set_aside(root, fault.path, f"expected {fault.expected}")
        for fault in faults
        if fault.kind == "file" and not fault.build
    ]
    pointers = [
        action
        for partition in builds.partitions.values()
        if (action := _plan_pointer(root, partition, damaged, suspect, faults)) is not None
    ]
    return BuildRepair(damaged, suspect, (*marks, *asides, *pointers))


def _mark(root: UPath, location: str, reason: str) -> Action:
    return Action(f"mark {location} as suspect: {reason}", lambda: mark_suspect(root, location, reason))


def _set_aside(root: UPath, location: str, why: str) -> Action:
    def do() -> None:
        if exists(root, location) and set_aside(root, location) is None:
            logger.warning("Skipped %s: it is being built", printable(location))

    return Action(f"set aside {location} ({why})", do)


def _plan_pointer(
    root: UPath,
    partition: PartitionFound,
    damaged: dict[str, str],
    suspect: dict[str, str],
    faults: list[Fault],
) -> Action | None:
    """Point to the newest build in order if the current one is not, or the pointer is damaged or missing."""
    location = f"{ASSETS}/{partition.asset}/{partition.name}"
    path = f"{location}/{CURRENT_NAME}"
    is_wrong = any(fault.kind == "pointer" and fault.path == path for fault in faults)
    if not is_wrong and (partition.current is None or f"{location}/{partition.current}" not in damaged):
        return None
    good = {name: each for name, each in partition.manifests.items() if name not in damaged}
    # A suspect build is better than none: it is stale, and says so.
    newest = max(good, key=lambda name: (name not in suspect, good[name].finished_at), default=None)

    def do() -> None:
        if (partition.current is None or newest is None) and exists(root, path):  # it cannot be read
            set_aside(root, path)
        if newest is not None:
            point_to(root / location, newest.rpartition("/")[2])

    if newest is None:
        return Action(f"set aside {path}: no build of {name_of(path)} is in order", do)
    return Action(f"point {path} to {newest.rpartition('/')[2]}", do)
