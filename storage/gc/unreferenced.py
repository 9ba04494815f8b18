"""What nothing refers to any more: found and told here, removed by `storage.gc.removal`.

Kept is

- every partition's current build, and whatever a kept build refers to;
- what was current until less than `keep_days` ago, and whatever is younger: running jobs may still read it;
- what a build reads that goes on now, or could be gone on with, on this machine;
- what is referred to from elsewhere (`References.roots`).

All else of the known layout is collected: superseded builds, directories without a manifest that a killed
upload or removal left, and `storage.gc.leftovers`. What is not of the known layout is left alone, and told.
"""

from collections.abc import Mapping
from typing import Final

from upath import UPath

from storage.gc.findings import Finding, Garbage, Moment, References, shown_location
from storage.gc.leftovers import (
    find_copies,
    find_half_written,
    find_pictures,
    find_records,
    find_works,
    is_resumable,
)
from storage.gc.scratch import Scratch, Work, survey_scratch
from storage.gc.survey import ASSETS, Build, Partition, Survey, take_survey
from storage.listing import entries, extent
from storage.root import scratch_directory
from storage.transfer import is_local

CURRENT: Final = "current"


def find_garbage(root: UPath, references: References, moment: Moment) -> Garbage:
    """Find what nothing refers to.

    Raises:
        ValueError: a pointer is damaged, or the manifest of a build that refers to others.
    """
    scratch = survey_scratch(scratch_directory(root), references.known_scratch)
    survey = take_survey(root)
    read = being_read(survey, scratch, references, moment)
    told = {build: f"read by what is built in {work.path}" for build, work in read.items()}
    kept = keep(survey, told, references, moment)
    read_along = follow(survey, dict.fromkeys(read, ""), references)
    findings = (
        *find_half_written(root, survey, scratch, references, moment),
        *find_works(root, survey, scratch, moment),
        *find_records(root, references, moment),
        *find_pictures(root, references, moment),
        *_old_builds(survey, kept, references, moment),
        *find_copies(root, scratch, read_along, moment),
    )
    old = {build.location: why for build, why in kept.items() if why != CURRENT}
    return Garbage(findings, old, _left_alone(root, survey, scratch, references))


def keep(
    survey: Survey, read: Mapping[Build, str], references: References, moment: Moment
) -> dict[Build, str]:
    """Every build that is kept, and why.

    Args:
        survey: what lies there.
        read: builds that are read now, and why they are kept.
        references: who refers to whom.
        moment: what is young.
    """
    kept: dict[Build, str] = {}
    for partition in survey.partitions.values():
        if partition.current is not None:
            kept[partition.current] = CURRENT
        for build in partition.builds:
            why = None if build in kept else _why_not_yet(survey, partition, build, references, moment)
            if why is not None:
                kept[build] = why
    for build, why in (*references.roots(survey).items(), *read.items()):
        kept.setdefault(build, why)
    return follow(survey, kept, references)


def follow(survey: Survey, kept: dict[Build, str], references: References) -> dict[Build, str]:
    """Add what kept builds refer to, and what that refers to."""
    queue = list(kept)
    while queue:
        build = queue.pop()
        needs = references.published.get(build.asset)
        manifest = None if needs is None else survey.manifest(build)
        if needs is None or manifest is None:
            continue
        for found in needs(survey, build.partition, manifest.inputs):
            if found not in kept:
                kept[found] = f"{build.asset} {build.partition} {build.name} refers to it"
                queue.append(found)
    return kept


def being_read(survey: Survey, scratch: Scratch, references: References, moment: Moment) -> dict[Build, Work]:
    """The builds that are read by what is built now, or may be gone on with, and by which."""
    found: dict[Build, Work] = {}
    for work in scratch.works:
        needs = references.building.get(work.asset)
        if needs is not None and work.reads is not None and is_resumable(work, moment):
            for build in needs(survey, work.partition, work.reads):
                found.setdefault(build, work)
    return found


def _why_not_yet(
    survey: Survey, partition: Partition, build: Build, references: References, moment: Moment
) -> str | None:
    """Why a build that is not current is kept by itself; None where it is not, or is not whole."""
    try:
        if survey.manifest(build) is None:
            return None
    except ValueError as error:
        if build.asset in references.published:
            raise  # what it refers to is not known
        return f"{error}"
    if partition.pointer is not None and partition.current is None:
        return f"the build that {partition.location} points to is gone: it may be the last good one"
    ceased = survey.ceased_at(build)
    return f"young: ceased to be current {moment.ago(ceased)}" if moment.is_young(ceased) else None


def _old_builds(
    survey: Survey, kept: Mapping[Build, str], references: References, moment: Moment
) -> list[Finding]:
    """Builds that are not kept; who refers comes first, so that none is left without what it refers to."""
    found: list[Finding] = []
    for partition in survey.partitions.values():
        for build in partition.builds:
            if build in kept:
                continue
            size = extent(survey.root, build.location)
            if survey.manifest(build) is not None:
                ceased = survey.ceased_at(build)
                how = "never current, finished" if partition.pointer is None else "superseded"
                why = f"{how} {moment.ago(ceased)}"
            elif moment.is_young(size.newest):
                continue  # it may be uploaded now
            else:
                why = f"no manifest: an upload or removal was cut short, files of {moment.ago(size.newest)}"
            found.append(Finding("build", build.location, why, size.size_bytes, build=build))
    ranks = {asset: -rank for rank, asset in enumerate(references.published, start=1)}
    return sorted(found, key=lambda one: 0 if one.build is None else ranks.get(one.build.asset, 0))


def _left_alone(root: UPath, survey: Survey, scratch: Scratch, references: References) -> tuple[str, ...]:
    known = {ASSETS, *references.known, *references.records, *references.drawn}
    if is_local(root):
        known.add(scratch_directory(root).name)
    unknown = [entry.name for entry in entries(root, "") if entry.name not in known]
    unknown += survey.unknown
    unknown += [f"{one.location}/{name}" for one in survey.partitions.values() for name in one.others]
    unknown += [shown_location(root, path) for path in scratch.unknown]
    told = [f"{location}: unknown, left alone" for location in unknown if ".partial-" not in location]
    return (*told, *references.remarks(survey))
