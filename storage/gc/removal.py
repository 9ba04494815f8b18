"""Removing what `storage.gc.unreferenced` found, each thing looked at once more right before.

A build goes manifest first, so that a removal that is cut short leaves a directory that is not there for
anybody and that the next collection finds. What is local and no build is renamed away first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from upath import UPath

from storage.atomic import partial_path, remove
from storage.build_directory import lock_if_free, reads_path
from storage.gc.findings import Finding, Garbage, Moment, References
from storage.gc.scratch import last_used
from storage.gc.survey import Build, take_survey
from storage.gc.unreferenced import keep
from storage.listing import entries, extent, local_extent, remove_directory, remove_file
from storage.manifest import MANIFEST_NAME, Manifest
from storage.root import scratch_directory

BUSY: Final = "it is being built now"
CHANGED: Final = "it has changed since"
GONE: Final = "it is gone already"


@dataclass(frozen=True)
class Removal:
    """What became of the findings.

    Attributes:
        removed: What is gone.
        spared: What is not, and why: something has changed since it was found.
    """

    removed: tuple[Finding, ...]
    spared: tuple[tuple[Finding, str], ...]


def remove_garbage(
    root: UPath,
    garbage: Garbage,
    references: References,
    moment: Moment,
    progress: Callable[[str], None] = lambda _: None,
) -> Removal:
    """Remove findings in their order, but what is referred to, built in or changed by now.

    Raises:
        OSError: something cannot be removed; what went before it is gone.
    """
    removed: list[Finding] = []
    spared: list[tuple[Finding, str]] = []
    manifests: dict[str, Manifest] = {}
    for finding in garbage.findings:
        if finding.build is not None:
            why = _remove_build(root, finding.build, references, moment, manifests)
        elif finding.kind == "record":
            why = _remove_record(root, finding, references.records, moment)
        elif finding.kind == "picture":
            remove_file(root, finding.location)  # who misses it draws it again
            why = None
        else:
            why = _remove_local(finding, moment)
        if why is None:
            removed.append(finding)
            progress(f"removed {finding.location}")
        else:
            spared.append((finding, why))
            progress(f"spared {finding.location}: {why}")
    return Removal(tuple(removed), tuple(spared))


def _remove_build(
    root: UPath, build: Build, references: References, moment: Moment, manifests: dict[str, Manifest]
) -> str | None:
    """Remove a build under the lock of its recipe: who makes it current again waits, and then builds it."""
    work = scratch_directory(root) / build.asset / build.partition / build.fingerprint
    with lock_if_free(work) as free:
        if not free:
            return BUSY
        survey = take_survey(
            root,
            chosen=[(build.asset, build.partition)],
            assets={*references.published, *references.root_assets},
            manifests=manifests,
        )
        if build not in survey.partitions[build.asset, build.partition].builds:
            return GONE
        why = keep(survey, {}, references, moment).get(build)
        if why is None and survey.manifest(build) is None:
            why = CHANGED if moment.is_young(extent(root, build.location).newest) else None
        if why is None:
            remove_directory(root, build.location, first=MANIFEST_NAME)
            manifests.pop(build.location, None)
        return why


def _remove_record(root: UPath, finding: Finding, records: Mapping[str, str], moment: Moment) -> str | None:
    name = records[finding.location.rpartition("/")[0]]
    whole = any(entry.name == name for entry in entries(root, finding.location))
    if whole or moment.is_young(extent(root, finding.location).newest):
        return CHANGED
    remove_directory(root, finding.location, first=name)
    return None


def _remove_local(finding: Finding, moment: Moment) -> str | None:
    assert finding.path is not None
    if finding.work is None:
        return _remove_path(finding, moment)
    with lock_if_free(finding.work) as free:
        if not free:
            return BUSY
        why = _remove_path(finding, moment)
        if why is None:
            reads_path(finding.work).unlink(missing_ok=True)
        return why


def _remove_path(finding: Finding, moment: Moment) -> str | None:
    path = finding.path
    assert path is not None
    if not path.exists():
        return GONE
    if moment.is_young(last_used(path) if finding.kind == "copy" else local_extent(path).newest):
        return CHANGED
    if finding.kind == "partial" or not path.is_dir():
        remove(path)
        return None
    away = partial_path(path)
    path.rename(away)  # half of a work directory would be gone on with, half of a copy be read
    remove(away)
    return None
