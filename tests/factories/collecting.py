"""Roots with old builds, and what the tests of collecting say of them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from upath import UPath

from storage.gc.findings import Garbage, Moment, References
from storage.gc.survey import Build, Survey
from storage.gc.unreferenced import find_garbage
from storage.publishing import BuildReport, Published, Recipe, current, materialise
from tests.factories.builds import ClipSettings, build, recipe

NOBODY = References({}, {}, lambda _: {})
OLD, NEW = recipe(), recipe(ClipSettings(minimum_face_px=64))
DAY_SECONDS = 86400


def clips_of(survey: Survey, _: str, inputs: Mapping[str, str]) -> list[Build]:
    """An index refers to the clips that its inputs name by batch."""
    return [one for batch, digest in inputs.items() for one in survey.with_content("clips", digest, batch)]


INDICES = References({"index": clips_of}, {"index": clips_of}, lambda _: {})


def other_content(work: Path) -> BuildReport:
    (work / "index.json").write_bytes(b"[]")
    return BuildReport({}, {})


def supersede(root: UPath) -> tuple[Published, Published]:
    """A build and, of other content, the one that took its place."""
    return materialise(root, OLD, build), materialise(root, NEW, other_content)


def publish_index(root: UPath, clips: Published, name: str = "1") -> Published:
    """An index over a batch's clips; another name, another index."""
    inputs = {"batch-0000": clips.manifest.content_digest}

    def write(work: Path) -> BuildReport:
        (work / "index.txt").write_text(name)
        return BuildReport({}, {})

    return materialise(root, Recipe("index", "whole", name, {}, inputs), write)


def later(days: float, keep_days: float = 7.0) -> Moment:
    """So many days from now."""
    return Moment.of(keep_days, datetime.now(UTC) + timedelta(days=days))


def found(root: UPath, days: float = 8, references: References = NOBODY, keep_days: float = 7.0) -> Garbage:
    return find_garbage(root, references, later(days, keep_days))


def locations(garbage: Garbage) -> list[str]:
    return [finding.location for finding in garbage.findings]


def location_of(root: UPath, published: Published) -> str:
    return published.directory.path.removeprefix(root.path).strip("/")


def is_there(published: Published, root: UPath) -> bool:
    """Whether a build is the current one, whole."""
    now = current(root, published.manifest.asset, published.manifest.partition)
    return now is not None and now.directory == published.directory


def make_old(path: Path, days: float) -> None:
    """Let everything below a path have been changed so many days ago."""
    when = time.time() - days * DAY_SECONDS
    for one in [path, *path.rglob("*")]:
        os.utime(one, (when, when))


def dead_process() -> int:
    """The number of a process that is gone."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def raising(error: Exception) -> Callable[[Path], BuildReport]:
    """A builder that writes a file and fails."""

    def fail(work: Path) -> BuildReport:
        (work / "part.bin").write_bytes(b"half of it")
        raise error

    return fail
