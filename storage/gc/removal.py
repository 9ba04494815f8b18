"""Remove what `storage.gc.unreferenced` found; each finding is checked again right before its removal.

A build's manifest is removed first: an interrupted removal leaves a directory that counts as not
published and is found by the next search. Local files and directories are renamed first.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upath import UPath

from storage.atomic import partial_path, remove
from storage.build_directory import inputs_path, lock_if_free, lock_path
from storage.gc.findings import Finding, Layout, RetentionWindow, Unreferenced
from storage.gc.scratch import CACHE, WORK_NAME, last_used
from storage.gc.survey import Build, take_survey
from storage.gc.unreferenced import Roots, find_kept
from storage.integrity.verified import forget_verified, memory_path
from storage.manifest import MANIFEST_NAME, Manifest
from storage.objects import (
    entries,
    extent,
    is_local,
    local_extent,
    local_path,
    remove_directory,
    remove_file,
)
from storage.printable import printable
from storage.publishing import ASSETS
from storage.root import scratch_directory

logger = logging.getLogger(__name__)

BUSY: Final = "it is being built"
CHANGED: Final = "it has changed since it was found"
GONE: Final = "it is already gone"


@dataclass(frozen=True)
class Removal:
    """What was removed, and what was skipped and why."""

    removed: tuple[Finding, ...]
    skipped: tuple[tuple[Finding, str], ...]


def remove_findings(
    root: UPath, unreferenced: Unreferenced, roots: Roots, layout: Layout, window: RetentionWindow
) -> Removal:
    """Remove findings in their order; skip what is needed, being built or changed by now.

    Raises:
        OSError: something cannot be removed; what precedes it is gone.
    """
    removed: list[Finding] = []
    skipped: list[tuple[Finding, str]] = []
    check = _BuildCheck(root, roots, window, unreferenced.self_contained, {})
    for finding in unreferenced.findings:
        if finding.build is not None:
            reason = check.remove(finding.build)
        elif finding.kind == "record":
            reason = _remove_record(root, finding, layout, window)
        elif finding.kind == "picture":
            remove_file(root, finding.location)  # drawn again when needed
            reason = None
        else:
            reason = _remove_local(finding, window)
        if reason is None:
            removed.append(finding)
            logger.info("Removed %s", printable(finding.location))
        else:
            skipped.append((finding, reason))
            logger.info("Skipped %s: %s", printable(finding.location), reason)
    scratch = scratch_directory(root)
    forget_verified(scratch, local_path(root) / ASSETS if is_local(root) else None, scratch / CACHE)
    _remove_locks(scratch, window)
    return Removal(tuple(removed), tuple(skipped))


def _remove_locks(scratch: Path, window: RetentionWindow) -> None:
    """Remove lock files without a work directory that are as old as builds must be.

    Each while it is held: who has opened it meanwhile finds that it has no name any more, and opens it again
    (filelock does).
    """
    for path in sorted(scratch.glob("*/*/*.lock")):
        work = path.with_suffix("")
        recent = window.is_recent(local_extent(path).newest)
        if WORK_NAME.fullmatch(work.name) is None or work.exists() or recent:
            continue
        with lock_if_free(work) as free:
            if free:
                _remove_lock(work)


def _remove_lock(work: Path) -> None:
    """Remove the lock file of a work directory that is gone; the caller holds it."""
    if not work.exists():
        lock_path(work).unlink(missing_ok=True)


@dataclass(frozen=True)
class _BuildCheck:
    """Removes builds that are still not needed."""

    root: UPath
    roots: Roots
    window: RetentionWindow
    self_contained: frozenset[str]
    manifests: dict[str, Manifest]

    def remove(self, build: Build) -> str | None:
        """Remove a build under the lock of its recipe: a process that makes it current again waits for that.

        Returns:
            Why it was skipped; None if it was removed.
        """
        work = scratch_directory(self.root) / build.asset / build.partition / build.fingerprint
        with lock_if_free(work) as free:
            if not free:
                return BUSY
            survey = take_survey(
                self.root,
                chosen=[(build.asset, build.partition)],
                skipped_assets=self.self_contained,
                manifests=self.manifests,
            )
            if build not in survey.partitions[build.asset, build.partition].builds:
                return GONE
            reason = find_kept(survey, {}, self.roots, self.window).get(build)
            if reason is None and survey.manifest(build) is None:
                recent = self.window.is_recent(extent(self.root, build.location).newest)
                reason = CHANGED if recent else None
            if reason is None:
                manifest = survey.manifest(build)
                remove_directory(self.root, build.location, first=MANIFEST_NAME)
                self.manifests.pop(build.location, None)
                if manifest is not None:
                    memory_path(scratch_directory(self.root), manifest).unlink(missing_ok=True)
                _remove_lock(work)
            return reason


def _remove_record(root: UPath, finding: Finding, layout: Layout, window: RetentionWindow) -> str | None:
    name = layout.records[finding.location.rpartition("/")[0]]
    complete = any(entry.name == name for entry in entries(root, finding.location))
    if complete or window.is_recent(extent(root, finding.location).newest):
        return CHANGED
    remove_directory(root, finding.location, first=name)
    return None


def _remove_local(finding: Finding, window: RetentionWindow) -> str | None:
    if finding.work is None:
        return _remove_path(finding, window)
    with lock_if_free(finding.work) as free:
        if not free:
            return BUSY
        reason = _remove_path(finding, window)
        if reason is None:
            inputs_path(finding.work).unlink(missing_ok=True)
            _remove_lock(finding.work)
        return reason


def _remove_path(finding: Finding, window: RetentionWindow) -> str | None:
    path = finding.path
    assert path is not None
    if not path.exists():
        return GONE
    if window.is_recent(last_used(path) if finding.kind == "copy" else local_extent(path).newest):
        return CHANGED
    if finding.kind == "partial" or not path.is_dir():
        remove(path)
        return None
    discarded = partial_path(path)
    path.rename(discarded)  # so that no process resumes or reads half of a directory
    remove(discarded)
    return None
