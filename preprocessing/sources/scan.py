"""Scan folders and buckets of videos into the catalog: one row for every video file ever seen.

Sources are never moved, changed or deleted. A file is identified by its path, size and modification
time; while these stay the same, it is not opened again. An object of a bucket is read as a local copy, which
is removed at once. A video is identified by its content: `video_id`. Rows are kept: a file that vanished
keeps its row, a refused one has a row with the reason.
"""

import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
from pydantic import Field

from preprocessing.common_failure import common_error, common_failure
from preprocessing.process_pool import Crashed, map_in_processes
from preprocessing.sources.catalog import (
    ACCEPTED,
    DUPLICATE,
    FAILED,
    REFUSED,
    CatalogRow,
    rows_of,
    table_of,
)
from preprocessing.sources.discovery import SourceFile, find_videos
from preprocessing.sources.lists.stored import ListedFiles
from preprocessing.sources.probe import ProbeSettings
from preprocessing.sources.reading import TRANSIENT_REASONS, ReadTask, probe_key_of, read_file, refused_row
from preprocessing.sources.remote import SourcePath
from storage.atomic import remove_dead_partials
from storage.printable import printable
from storage.settings import Settings

logger = logging.getLogger(__name__)

LOG_EVERY_FILES: Final = 100


class ScanSettings(Settings):
    """How folders are scanned."""

    probe: ProbeSettings = ProbeSettings()
    workers: int = Field(
        default=4,
        ge=0,
        le=256,
        description="Processes that hash and probe files; 0 reads them in the scanning process, whose memory "
        "and time are not limited",
    )
    settle_seconds: int = Field(
        default=0,
        ge=0,
        description="Skip files modified more recently than this: they may still be uploading",
    )


@dataclass(frozen=True)
class ScanResult:
    """The catalog after a scan, and what the scan did."""

    table: pa.Table  # of CATALOG_SCHEMA, sorted by root and relative path
    files_found: int
    files_read: int  # hashed or probed; the others were known
    newly_missing: int
    unreadable_folders: tuple[str, ...]
    other_files: dict[str, int]  # number of files that are no videos, by ending


def scan(
    roots: Sequence[SourcePath],
    known: pa.Table | None,
    settings: ScanSettings,
    *,
    scratch: Path | None = None,
    retry_failed: bool = False,
    lists: ListedFiles | None = None,
) -> ScanResult:
    """List every video file below `roots`, read the new ones and update the catalog.

    Rows of other roots stay unchanged. Content at several paths is one accepted row and
    duplicates; content at a new path whose old file is gone is the same video, moved: it keeps its
    batch. Rows of missing files stay, with `present` false.

    Args:
        roots: folders, or prefixes of buckets; the first level below each names the identity.
        known: the catalog so far (`CATALOG_SCHEMA`), or None.
        settings: of probing, and how many files to read at once.
        scratch: folder for copies of objects while they are read, one per worker; by default the
            platform's temporary directory.
        retry_failed: read files again whose status is `failed`.
        lists: name files of their folders and their identities; other files there are `not_in_list`.

    Raises:
        FileNotFoundError: a root is not a folder; an unmounted disk must not empty the catalog.
        OSError: a bucket cannot be listed.
        RuntimeError: every new file failed with one and the same exception.
    """
    files, unreadable_folders, other_files = find_videos(roots)
    if other_files:
        counted = ", ".join(f"{count:,} {ending}" for ending, count in other_files.items())
        logger.info("Not looked at, since their endings are not those of videos: %s", printable(counted))
    known_rows = rows_of(known) if known is not None else []
    # If a file's content changed, two rows share its path: the present one counts.
    row_at = {row.path: row for row in sorted(known_rows, key=lambda row: row.present)}
    probe_key = probe_key_of(settings.probe)
    rows: list[CatalogRow] = []
    new_files: list[SourceFile] = []
    now_ns = time.time_ns()
    for file in files if lists is None else _with_listed_identities(files, lists):
        row = row_at.get(file.stored_path)
        if lists is not None and (unlisted := _unlisted(file, row, lists, settings.probe)) is not None:
            rows.append(unlisted)
            continue
        is_again = row is not None and row.status == FAILED and retry_failed
        if row is not None and not is_again and _is_unchanged(file, row, probe_key):
            rows.append(_placed(row, file))
        elif is_settled(file, settings.settle_seconds, now_ns):
            new_files.append(file)
        elif row is not None:
            rows.append(row)
    rows += _read_all(new_files, row_at, settings, scratch)
    listed = {(row.path, row.sha256) for row in rows}
    scanned = {str(root.resolve()) for root in roots}
    paths = {file.stored_path for file in files}
    others = [row for row in known_rows if (row.path, row.sha256) not in listed]
    # A row with a transient reason is superseded by this scan's.
    gone = [
        row
        for row in others
        if (row.root in scanned or row.path in paths) and row.reason not in TRANSIENT_REASONS
    ]
    kept = [row for row in others if row.root not in scanned and row.path not in paths]
    table_rows = settle_contents(rows + kept, [replace(row, present=False) for row in gone])
    return ScanResult(
        table=table_of(sorted(table_rows, key=lambda row: (row.root, row.relative_path, row.sha256))),
        files_found=len(files),
        files_read=len(new_files),
        newly_missing=sum(row.present for row in gone),
        unreadable_folders=tuple(unreadable_folders),
        other_files=other_files,
    )


def _with_listed_identities(files: Sequence[SourceFile], lists: ListedFiles) -> Iterator[SourceFile]:
    for file in files:
        identity = lists.identities.get(file.stored_path, file.identity)
        yield file if identity == file.identity else replace(file, identity=identity)


def _unlisted(
    file: SourceFile, known: CatalogRow | None, lists: ListedFiles, settings: ProbeSettings
) -> CatalogRow | None:
    """The row of a file that is in a list's folder and not in the list; None for every other file.

    A video that is in a batch stays what it is: batches never change.
    """
    name = lists.list_of(file.stored_path)
    if (
        name is None
        or file.stored_path in lists.identities
        or (known is not None and known.batch is not None)
    ):
        return None
    detail = f"list {name} does not name it; add it there, or remove the list: pdfgc sources remove {name}"
    row = refused_row(ReadTask(file, known, settings, Path()), "not_in_list", detail)
    return replace(row, probe_key="", batch=None)


def is_settled(file: SourceFile, settle_seconds: int, now_ns: int) -> bool:
    """Whether a file was last modified long enough ago to be complete.

    The file server's clock may differ a little, so a time slightly in the future counts as now; one
    further ahead is ignored, since the file would otherwise never settle.
    """
    return abs(now_ns - file.modified_ns) >= settle_seconds * 10**9


def settle_contents(present: Sequence[CatalogRow], gone: Sequence[CatalogRow]) -> list[CatalogRow]:
    """Mark one row per content as accepted and the others as duplicates; moved files keep their batch.

    Args:
        present: rows of files that exist.
        gone: rows of files that do not; those whose content is among `present` are dropped.

    Returns:
        All rows that remain.
    """
    by_content: dict[str, list[CatalogRow]] = defaultdict(list)
    for row in present:
        if row.status not in (REFUSED, FAILED):
            by_content[row.sha256].append(row)
    gone_batches = {row.sha256: row.batch for row in gone if row.status == ACCEPTED}
    settled = [row for row in present if row.status in (REFUSED, FAILED)]
    for content, rows in by_content.items():
        # The row that was accepted before stays accepted; otherwise the first path.
        first, *rest = sorted(rows, key=lambda row: (row.status != ACCEPTED, row.batch is None, row.path))
        batch = first.batch if first.batch is not None else gone_batches.get(content)
        if first.status != ACCEPTED or first.batch != batch:
            first = replace(first, status=ACCEPTED, reason="", detail="", batch=batch)
        settled.append(first)
        detail = f"same content as {first.path}"
        settled += [
            replace(row, status=DUPLICATE, reason=DUPLICATE, detail=detail, batch=None) for row in rest
        ]
    return settled + [row for row in gone if row.sha256 not in by_content]


def _is_unchanged(file: SourceFile, row: CatalogRow, probe_key: str) -> bool:
    return (
        (file.size_bytes, file.modified_ns) == (row.size_bytes, row.modified_ns)
        and row.probe_key == probe_key
        and row.reason not in TRANSIENT_REASONS
    )


def _placed(row: CatalogRow, file: SourceFile) -> CatalogRow:
    """The row of a known file that was listed again: present, below the root of this listing."""
    root = str(file.root)
    if row.present and row.root == root and row.identity == file.identity:
        return row
    return replace(row, present=True, root=root, relative_path=file.relative_path, identity=file.identity)


def _read_all(
    files: Sequence[SourceFile],
    row_at: dict[str, CatalogRow],
    settings: ScanSettings,
    scratch: Path | None,
) -> list[CatalogRow]:
    copies = scratch or Path(tempfile.gettempdir())
    tasks = [ReadTask(file, row_at.get(file.stored_path), settings.probe, copies) for file in files]
    failures: list[str] = []
    read = map_in_processes(read_file, tasks, settings.workers, settings.probe.worker)
    rows: list[CatalogRow] = []
    for task, outcome in read:
        name = printable(task.file.stored_path)
        if isinstance(outcome, Crashed):
            logger.error("Reading %s ended: %s", name, outcome.detail)
            rows.append(refused_row(task, outcome.reason, outcome.detail))
            if scratch is not None and scratch.is_dir():
                remove_dead_partials(scratch)  # copies of objects that died with their readers
        else:
            if outcome.trace:
                logger.error("Reading %s failed\n%s", name, outcome.trace)
                failures.append(outcome.row.detail.replace(name, ""))
            rows.append(outcome.row)
        if len(rows) % LOG_EVERY_FILES == 0 or len(rows) == len(files):
            logger.info("Hashed and probed %d of %d new files", len(rows), len(files))
    if len(failures) == len(files) and (failure := common_failure(failures)):
        raise common_error(failure, len(files), "new files")
    return rows
