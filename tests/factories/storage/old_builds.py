"""Roots with superseded builds, and helpers for tests of garbage collection."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from upath import UPath

from storage.gc.findings import Layout, RetentionWindow, Unreferenced
from storage.gc.unreferenced import Roots, find_unreferenced, no_roots
from storage.publishing import BuildReport, Published, Recipe, current, materialise
from tests.factories.storage.builds import ClipSettings, build, recipe

EMPTY = Layout()
OLD, NEW = recipe(), recipe(ClipSettings(minimum_face_px=64))
DAY_SECONDS = 86400


def build_other_content(work: Path) -> BuildReport:
    (work / "index.json").write_bytes(b"[]")
    return BuildReport({}, {})


def supersede(root: UPath) -> tuple[Published, Published]:
    """A build, and one with other content that superseded it."""
    return materialise(root, OLD, build), materialise(root, NEW, build_other_content)


def index_recipe(clips: Published, name: str = "1") -> Recipe:
    """An index over the clips of a batch; another name gives another index."""
    return Recipe("index", "whole", name, {}, {"batch-0000": clips.as_input()})


def publish_index(root: UPath, clips: Published, name: str = "1") -> Published:
    def write(work: Path) -> BuildReport:
        (work / "index.txt").write_text(name)
        return BuildReport({}, {})

    return materialise(root, index_recipe(clips, name), write)


def window_in(days: float, keep_days: float = 7.0) -> RetentionWindow:
    """The retention window as it is in some days from now."""
    return RetentionWindow.of(keep_days, datetime.now(UTC) + timedelta(days=days))


def find(
    root: UPath,
    days: float = 8,
    layout: Layout = EMPTY,
    roots: Roots = no_roots,
    keep_days: float = 7.0,
) -> Unreferenced:
    return find_unreferenced(root, roots, layout, window_in(days, keep_days))


def locations(unreferenced: Unreferenced) -> list[str]:
    return [finding.location for finding in unreferenced.findings]


def is_current(published: Published, root: UPath) -> bool:
    """Whether a build is the current one of its partition."""
    now = current(root, published.manifest.asset, published.manifest.partition)
    return now is not None and now.directory == published.directory


def make_old(path: Path, days: float) -> None:
    """Set the times of everything below a path to some days ago."""
    then = time.time() - days * DAY_SECONDS
    for changed in [path, *path.rglob("*")]:
        os.utime(changed, (then, then))


def dead_process() -> int:
    """The id of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def failing_build(error: Exception) -> Callable[[Path], BuildReport]:
    """A build that writes a file and fails."""

    def fail(work: Path) -> BuildReport:
        (work / "part.bin").write_bytes(b"half of it")
        raise error

    return fail
