"""Find what can be removed under a root; `storage.gc.removal` removes it.

Kept are

- the current build of every partition;
- builds that were current until less than `keep_days` ago, and everything else that is that recent: running
  jobs may still read it;
- what a build reads that is running, or can be resumed, on this machine;
- roots given by the caller, such as the reports of baseline runs;
- the inputs of every kept build, and their inputs.

All else of the known layout can be removed: superseded builds, directories without a manifest left by an
interrupted upload or removal, and what `storage.gc.leftovers` finds. What is not part of the known layout is
left alone and listed.
"""

from collections.abc import Callable, Mapping
from graphlib import TopologicalSorter
from typing import Final

from upath import UPath

from storage.gc.findings import Finding, Layout, RetentionWindow, Unreferenced, shown_location
from storage.gc.leftovers import (
    find_copies,
    find_partials,
    find_pictures,
    find_records,
    find_works,
    is_resumable,
)
from storage.gc.scratch import Scratch, Work, survey_scratch
from storage.gc.survey import Build, Partition, Survey, take_survey
from storage.objects import entries, extent, is_local
from storage.publishing import ASSETS
from storage.root import scratch_directory

CURRENT: Final = "current"
Roots = Callable[[], Mapping[str, str]]
"""Gives the locations of builds to keep, and why."""


def no_roots() -> Mapping[str, str]:
    """Keep nothing but what is current, recent or read."""
    return {}


def find_unreferenced(root: UPath, roots: Roots, layout: Layout, window: RetentionWindow) -> Unreferenced:
    """Find everything under a root that can be removed.

    Raises:
        ValueError: a pointer, a manifest or a record of a build's inputs is damaged.
    """
    scratch = survey_scratch(scratch_directory(root), layout.ignored_scratch)
    survey = take_survey(root)
    read = _builds_being_read(survey, scratch, window)
    reasons = {build: f"read by the build in {work.path}" for build, work in read.items()}
    kept = find_kept(survey, reasons, roots, window)
    read_with_inputs = _follow(survey, dict.fromkeys(read, ""))
    findings = (
        *find_partials(root, survey, scratch, layout, window),
        *find_works(root, survey, scratch, window),
        *find_records(root, layout, window),
        *find_pictures(root, layout, window),
        *_find_builds(survey, kept, window),
        *find_copies(root, scratch, read_with_inputs, window),
    )
    return Unreferenced(
        findings,
        kept={build.location: reason for build, reason in kept.items() if reason != CURRENT},
        unknown=_find_unknown(root, survey, scratch, layout),
        partitions=frozenset(survey.partitions),
        self_contained=survey.self_contained(),
    )


def find_kept(
    survey: Survey, read: Mapping[Build, str], roots: Roots, window: RetentionWindow
) -> dict[Build, str]:
    """Every build that is kept, and why.

    Args:
        survey: of the root.
        read: builds that are being read, and the reason to show.
        roots: builds that are kept in any case.
        window: what is recent.
    """
    kept: dict[Build, str] = {}
    for partition in survey.partitions.values():
        if partition.current is not None:
            kept[partition.current] = CURRENT
        for build in partition.builds:
            reason = None if build in kept else _reason_to_keep(survey, partition, build, window)
            if reason is not None:
                kept[build] = reason
    for location, reason in roots().items():
        if (build := survey.at(location)) is not None:
            kept.setdefault(build, reason)
    for build, reason in read.items():
        kept.setdefault(build, reason)
    return _follow(survey, kept)


def _follow(survey: Survey, kept: dict[Build, str]) -> dict[Build, str]:
    """Add the inputs of kept builds, and their inputs."""
    queue = list(kept)
    while queue:
        build = queue.pop()
        for needed in survey.inputs(build):
            if needed not in kept:
                kept[needed] = f"input of {build.asset} {build.partition} {build.name}"
                queue.append(needed)
    return kept


def _builds_being_read(survey: Survey, scratch: Scratch, window: RetentionWindow) -> dict[Build, Work]:
    """The builds that running or resumable builds read, and which."""
    read: dict[Build, Work] = {}
    for work in scratch.works:
        if is_resumable(work, window):
            for location in work.input_locations:
                if (build := survey.at(location)) is not None:
                    read.setdefault(build, work)
    return read


def _reason_to_keep(
    survey: Survey, partition: Partition, build: Build, window: RetentionWindow
) -> str | None:
    """Why a build that is not current is kept for itself; None if it is not, or is incomplete."""
    if survey.manifest(build) is None:
        return None
    if partition.pointer is not None and partition.current is None:
        return f"{partition.location} points to a build that is gone: this may be the last good one"
    superseded = survey.superseded_at(build)
    return f"recent: superseded {window.ago(superseded)}" if window.is_recent(superseded) else None


def _find_builds(survey: Survey, kept: Mapping[Build, str], window: RetentionWindow) -> list[Finding]:
    """Builds that are not kept, each before its inputs: none is ever left without them."""
    findings: dict[Build, Finding] = {}
    for partition in survey.partitions.values():
        for build in partition.builds:
            if build in kept:
                continue
            size = extent(survey.root, build.location)
            if survey.manifest(build) is not None:
                superseded = survey.superseded_at(build)
                state = "never current, finished" if partition.pointer is None else "superseded"
                reason = f"{state} {window.ago(superseded)}"
            elif window.is_recent(size.newest):
                continue  # may be uploaded now
            else:
                reason = f"no manifest: interrupted upload or removal, last written {window.ago(size.newest)}"
            findings[build] = Finding("build", build.location, reason, size.size_bytes, build=build)
    order: TopologicalSorter[Build] = TopologicalSorter(dict.fromkeys(findings, ()))
    for build in findings:
        for needed in survey.inputs(build):
            if needed in findings:
                order.add(needed, build)
    return [findings[build] for build in order.static_order()]


def _find_unknown(root: UPath, survey: Survey, scratch: Scratch, layout: Layout) -> tuple[str, ...]:
    known = {ASSETS, *layout.ignored, *layout.records, *layout.redrawn}
    if is_local(root):
        known.add(scratch_directory(root).name)
    unknown = [entry.name for entry in entries(root, "") if entry.name not in known]
    unknown += survey.unknown
    unknown += [
        f"{partition.location}/{name}"
        for partition in survey.partitions.values()
        for name in partition.unknown
    ]
    unknown += [shown_location(root, path) for path in scratch.unknown]
    return tuple(location for location in unknown if ".partial-" not in location)
