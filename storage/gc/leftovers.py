"""What builds, downloads and writers left behind that are gone: found here, for `storage.gc.unreferenced`."""

from collections.abc import Collection
from datetime import datetime

from upath import UPath

from storage.gc.findings import Finding, Moment, References, shown_location
from storage.gc.scratch import CACHE, Scratch, Work, dead_partials
from storage.gc.survey import CONTENT_DIGITS, Build, Survey
from storage.listing import File, entries, extent, files, local_extent
from storage.root import scratch_directory
from storage.transfer import is_local, local_path


def is_resumable(work: Work, moment: Moment) -> bool:
    """Whether a build goes on there now, or is young enough that somebody may go on with it."""
    return work.is_build and (work.locked or moment.is_young(work.extent.newest))


def find_works(root: UPath, survey: Survey, scratch: Scratch, moment: Moment) -> list[Finding]:
    """Work directories, with what training keeps in them, that nobody goes on with."""
    return [
        Finding(
            "work",
            shown_location(root, work.path),
            _why_given_up(survey, work, moment),
            work.extent.size_bytes,
            path=work.path,
            work=work.work,
        )
        for work in scratch.works
        if not work.locked and not moment.is_young(work.extent.newest)
    ]


def find_copies(root: UPath, scratch: Scratch, read: Collection[Build], moment: Moment) -> list[Finding]:
    """Copies of a bucket's directories that nobody asks for; those of builds that are `read` now stay."""
    digests = {build.name[-CONTENT_DIGITS:] for build in read}
    return [
        Finding(
            "copy",
            shown_location(root, path),
            f"a copy, last asked for {moment.ago(size.newest)}",
            size.size_bytes,
            path=path,
        )
        for path, size in scratch.copies
        if not moment.is_young(size.newest) and path.name[:CONTENT_DIGITS] not in digests
    ]


def find_records(root: UPath, references: References, moment: Moment) -> list[Finding]:
    """Directories of records that were cut short."""
    found: list[Finding] = []
    for directory, name in references.records.items():
        for entry in entries(root, directory):
            location = f"{directory}/{entry.name}"
            if not entry.is_directory or entry.is_link or name in _names(root, location):
                continue
            size = extent(root, location)
            if not moment.is_young(size.newest):
                why = f"no {name}: it was cut short {moment.ago(size.newest)}"
                found.append(Finding("record", location, why, size.size_bytes))
    return found


def find_pictures(root: UPath, references: References, moment: Moment) -> list[Finding]:
    """Pictures that a newer one of the same name has taken the place of."""
    found: list[Finding] = []
    for directory in sorted(references.drawn):
        named: dict[str, list[File]] = {}
        for file in files(root, directory):
            named.setdefault(file.location.rpartition("-")[0], []).append(file)
        for drawn in named.values():
            newest = max(drawn, key=lambda file: file.changed)
            found += [
                Finding(
                    "picture",
                    file.location,
                    f"a newer one is there, {moment.ago(file.changed)}",
                    file.size_bytes,
                )
                for file in drawn
                if file is not newest and not moment.is_young(file.changed)
            ]
    return found


def find_half_written(
    root: UPath, survey: Survey, scratch: Scratch, references: References, moment: Moment
) -> list[Finding]:
    """Half-written files of processes that are gone from this machine; a bucket has none."""
    top = scratch_directory(root)
    folders = {top, top / CACHE, *(top / name for name in references.known_scratch), *scratch.partitions}
    if is_local(root):
        base = local_path(root)
        ours = (*references.known, *references.records, *references.drawn)
        folders |= {base, *(base / name for name in ours)}
        folders |= {base / one.location for one in survey.partitions.values() if one.others}
    found: list[Finding] = []
    for path in dead_partials(sorted(folders)):
        size = local_extent(path)
        if not moment.is_young(size.newest):
            why = f"half-written by a process that is gone, {moment.ago(size.newest)}"
            found.append(Finding("partial", shown_location(root, path), why, size.size_bytes, path=path))
    return found


def _names(root: UPath, location: str) -> set[str]:
    return {entry.name for entry in entries(root, location)}


def _why_given_up(survey: Survey, work: Work, moment: Moment) -> str:
    last = f"last written {moment.ago(work.extent.newest)}"
    if not work.is_build:
        return f"left beside a build, {last}"
    partition = survey.partitions.get((work.asset, work.partition))
    if partition is not None and any(one.fingerprint == work.work.name for one in partition.builds):
        return f"its result is published, {last}"
    manifest = None
    if partition is not None and partition.current is not None:
        manifest = survey.manifest(partition.current)
    newest = work.extent.newest
    if manifest is not None and newest is not None and datetime.fromisoformat(manifest.finished_at) > newest:
        return f"its recipe is superseded, {last}"
    return f"nobody went on with it, {last}"
