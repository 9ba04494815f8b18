"""Find what interrupted builds, downloads and writers left behind; part of `storage.gc.unreferenced`."""

from collections.abc import Collection
from datetime import datetime

from upath import UPath

from storage.gc.findings import Finding, Layout, RetentionWindow, shown_location
from storage.gc.scratch import CACHE, Scratch, Work, dead_partials
from storage.gc.survey import CONTENT_DIGITS, Build, Survey
from storage.objects import File, entries, extent, files, is_local, local_extent, local_path
from storage.root import scratch_directory


def is_resumable(work: Work, window: RetentionWindow) -> bool:
    """Whether a build is running there, or is recent enough to be resumed."""
    return work.is_build and (work.locked or window.is_recent(work.extent.newest))


def find_works(root: UPath, survey: Survey, scratch: Scratch, window: RetentionWindow) -> list[Finding]:
    """Work directories, including checkpoints of training, that no build resumed."""
    return [
        Finding(
            "work",
            shown_location(root, work.path),
            _reason_abandoned(survey, work, window),
            work.extent.size_bytes,
            path=work.path,
            work=work.work,
        )
        for work in scratch.works
        if not work.locked and not window.is_recent(work.extent.newest)
    ]


def find_copies(
    root: UPath, scratch: Scratch, read: Collection[Build], window: RetentionWindow
) -> list[Finding]:
    """Local copies of a bucket's builds that are no longer used; those of builds being `read` are kept."""
    digests = {build.name[-CONTENT_DIGITS:] for build in read}
    return [
        Finding(
            "copy",
            shown_location(root, path),
            f"local copy, last used {window.ago(size.newest)}",
            size.size_bytes,
            path=path,
        )
        for path, size in scratch.copies
        if not window.is_recent(size.newest) and path.name[:CONTENT_DIGITS] not in digests
    ]


def find_records(root: UPath, layout: Layout, window: RetentionWindow) -> list[Finding]:
    """Incomplete directories of records."""
    findings: list[Finding] = []
    for directory, name in layout.records.items():
        for entry in entries(root, directory):
            location = f"{directory}/{entry.name}"
            if not entry.is_directory or entry.is_link or name in _names(root, location):
                continue
            size = extent(root, location)
            if not window.is_recent(size.newest):
                reason = f"no {name}: interrupted {window.ago(size.newest)}"
                findings.append(Finding("record", location, reason, size.size_bytes))
    return findings


def find_pictures(root: UPath, layout: Layout, window: RetentionWindow) -> list[Finding]:
    """Pictures of which there is a newer version."""
    findings: list[Finding] = []
    for directory in sorted(layout.redrawn):
        named: dict[str, list[File]] = {}
        for file in files(root, directory):
            named.setdefault(file.location.rpartition("-")[0], []).append(file)
        for versions in named.values():
            newest = max(versions, key=lambda file: file.changed)
            findings += [
                Finding(
                    "picture",
                    file.location,
                    f"replaced by a newer version, drawn {window.ago(file.changed)}",
                    file.size_bytes,
                )
                for file in versions
                if file is not newest and not window.is_recent(file.changed)
            ]
    return findings


def find_partials(
    root: UPath, survey: Survey, scratch: Scratch, layout: Layout, window: RetentionWindow
) -> list[Finding]:
    """Partial files whose process on this machine is gone; a bucket has none."""
    top = scratch_directory(root)
    folders = {top, top / CACHE, *(top / name for name in layout.ignored_scratch), *scratch.partitions}
    if is_local(root):
        base = local_path(root)
        known = (*layout.ignored, *layout.records, *layout.redrawn)
        folders |= {base, *(base / name for name in known)}
        folders |= {
            base / partition.location for partition in survey.partitions.values() if partition.unknown
        }
    findings: list[Finding] = []
    for path in dead_partials(sorted(folders)):
        size = local_extent(path)
        if not window.is_recent(size.newest):
            reason = f"partial file of a process that is gone, {window.ago(size.newest)}"
            findings.append(
                Finding("partial", shown_location(root, path), reason, size.size_bytes, path=path)
            )
    return findings


def _names(root: UPath, location: str) -> set[str]:
    return {entry.name for entry in entries(root, location)}


def _reason_abandoned(survey: Survey, work: Work, window: RetentionWindow) -> str:
    last = f"last written {window.ago(work.extent.newest)}"
    if not work.is_build:
        return f"leftover of a build, {last}"
    partition = survey.partitions.get((work.asset, work.partition))
    if partition is not None and any(build.fingerprint == work.work.name for build in partition.builds):
        return f"its result is published, {last}"
    manifest = None
    if partition is not None and partition.current is not None:
        manifest = survey.manifest(partition.current)
    newest = work.extent.newest
    if manifest is not None and newest is not None and datetime.fromisoformat(manifest.finished_at) > newest:
        return f"a later build is current, {last}"
    return f"interrupted build, {last}"
