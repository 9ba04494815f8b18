"""Scan folders and buckets of videos into the catalog: one row for every video file ever seen.

Sources are never moved, changed or deleted. A file is identified by its path, size and modification
time; while these stay the same, it is not opened again. An object of a bucket is read as a local copy, which
is removed at once. A video is identified by its content: `video_id`. Rows are kept: a file that vanished
keeps its row, a refused one has a row with the reason.
"""

import hashlib
import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
from pydantic import Field

from preprocessing.media.container import RefusedVideo, failure
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
from preprocessing.sources.local_files import check_is_file, hash_file
from preprocessing.sources.probe import PROBE_VERSION, ProbeSettings, probe
from preprocessing.sources.remote import SourcePath, fetched
from storage.printable import printable
from storage.settings import Settings

logger = logging.getLogger(__name__)

# Reasons that may be transient and do not depend on the content: such a file is read again by every scan.
TRANSIENT_REASONS: Final = frozenset({"not_accessible", "still_changing", "source_missing"})
LOG_EVERY_FILES: Final = 100


class ScanSettings(Settings):
    """How folders are scanned."""

    probe: ProbeSettings = ProbeSettings()
    threads: int = Field(
        default=4,
        ge=1,
        le=256,
        description="Files hashed and probed in parallel",
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


def scan(
    roots: Sequence[SourcePath],
    known: pa.Table | None,
    settings: ScanSettings,
    *,
    scratch: Path | None = None,
    retry_failed: bool = False,
) -> ScanResult:
    """List every video file below `roots`, read the new ones and update the catalog.

    Rows of other roots stay unchanged. Content at several paths is one accepted row and
    duplicates; content at a new path whose old file is gone is the same video, moved: it keeps its
    batch. Rows of missing files stay, with `present` false.

    Args:
        roots: folders, or prefixes of buckets; the first level below each names the identity.
        known: the catalog so far (`CATALOG_SCHEMA`), or None.
        settings: of probing, and how many files to read at once.
        scratch: folder for copies of objects while they are read, one per thread; by default the
            platform's temporary directory.
        retry_failed: read files again whose status is `failed`.

    Raises:
        FileNotFoundError: a root is not a folder; an unmounted disk must not empty the catalog.
        OSError: a bucket cannot be listed.
    """
    files, unreadable_folders = find_videos(roots)
    known_rows = rows_of(known) if known is not None else []
    # If a file's content changed, two rows share its path: the present one counts.
    row_at = {row.path: row for row in sorted(known_rows, key=lambda row: row.present)}
    probe_key = probe_key_of(settings.probe)
    rows: list[CatalogRow] = []
    new_files: list[SourceFile] = []
    now_ns = time.time_ns()
    for file in files:
        row = row_at.get(file.stored_path)
        is_again = row is not None and row.status == FAILED and retry_failed
        if row is not None and not is_again and _is_unchanged(file, row, probe_key):
            rows.append(_placed(row, file))
        elif is_settled(file, settings.settle_seconds, now_ns):
            new_files.append(file)
        elif row is not None:
            rows.append(row)
    rows += _read_all(new_files, row_at, settings, scratch or Path(tempfile.gettempdir()))
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
    )


def is_settled(file: SourceFile, settle_seconds: int, now_ns: int) -> bool:
    """Whether a file was last modified long enough ago to be complete.

    The file server's clock may differ a little, so a time slightly in the future counts as now; one
    further ahead is ignored, since the file would otherwise never settle.
    """
    return abs(now_ns - file.modified_ns) >= settle_seconds * 10**9


def probe_key_of(settings: ProbeSettings) -> str:
    """Version and settings of the probe; files with another key in their row are probed again, not hashed."""
    return f"{PROBE_VERSION}:{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"


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
    if row.present and row.root == root:
        return row
    return replace(row, present=True, root=root, relative_path=file.relative_path, identity=file.identity)


def _read_all(
    files: Sequence[SourceFile],
    row_at: dict[str, CatalogRow],
    settings: ScanSettings,
    scratch: Path,
) -> list[CatalogRow]:
    def read(file: SourceFile) -> CatalogRow:
        return read_file(file, row_at.get(file.stored_path), settings.probe, scratch)

    rows: list[CatalogRow] = []
    with ThreadPoolExecutor(settings.threads) as pool:
        for row in pool.map(read, files):
            rows.append(row)
            if len(rows) % LOG_EVERY_FILES == 0 or len(rows) == len(files):
                logger.info("Hashed and probed %d of %d new files", len(rows), len(files))
    return rows


def read_file(
    file: SourceFile, known: CatalogRow | None, settings: ProbeSettings, scratch: Path
) -> CatalogRow:
    """Hash and probe one file. What is wrong with it becomes the row's reason.

    An exception that nothing foresees is a row too, of status `failed`, and is logged with its trace.

    Args:
        file: the file to read.
        known: the row at this path so far; its hash is reused while size and time are the same, its batch
            while the content is.
        settings: of the probe.
        scratch: folder for the copy of an object.
    """
    digest = ""
    try:
        _check_name(file)
        with _open_unchanged(file, scratch) as path:
            digest = known_digest(file, known) or hash_file(path)
            facts = probe(path, settings)
        reason, detail = "", ""
    except RefusedVideo as refusal:
        facts, reason, detail = None, refusal.reason, refusal.detail
    except OSError as error:
        facts, reason, detail = None, "not_accessible", f"{type(error).__name__}: {error.strerror or error}"
    except Exception as error:  # the one place of the scan: a file must not end the reading of all others
        logger.exception("Reading %s failed", printable(file.stored_path))
        facts, reason, detail = None, FAILED, failure(error)
    same_content = known is not None and known.sha256 == digest
    return CatalogRow(
        video_id=digest[:16],
        sha256=digest,
        path=file.stored_path,
        relative_path=file.relative_path,
        root=str(file.root),
        identity=file.identity,
        size_bytes=file.size_bytes,
        modified_ns=file.modified_ns,
        present=True,
        status=ACCEPTED if facts is not None else FAILED if reason == FAILED else REFUSED,
        reason=reason,
        detail=printable(detail),
        batch=known.batch if known is not None and same_content else None,
        probe_key=probe_key_of(settings),
        facts=facts,
    )


def known_digest(file: SourceFile, known: CatalogRow | None) -> str:
    """The hash of a file that has not changed since its row was written; empty if it may have."""
    if known is None or known.reason in TRANSIENT_REASONS:
        return ""
    is_same = (file.size_bytes, file.modified_ns) == (known.size_bytes, known.modified_ns)
    return known.sha256 if is_same else ""


def _check_name(file: SourceFile) -> None:
    if not file.has_utf8_name:
        raise RefusedVideo("name_not_utf8", "the path is not UTF-8, which the catalog needs; rename the file")


@contextmanager
def _open_unchanged(file: SourceFile, scratch: Path) -> Generator[Path, None, None]:
    """The file, or a copy of the object; raises RefusedVideo if it is not the one that was listed."""
    source = file.path
    if isinstance(source, Path):
        check_is_file(source)
        yield source
        status = source.stat()
        if (status.st_size, status.st_mtime_ns) != (file.size_bytes, file.modified_ns):
            raise RefusedVideo("still_changing", "the file changed while being read")
        return
    with fetched(source, scratch / f"source{source.suffix}") as (copy, fetched_object):
        # Listings have milliseconds, an object's headers whole seconds.
        same_second = fetched_object.modified_ns // 10**9 == file.modified_ns // 10**9
        if fetched_object.size_bytes != file.size_bytes or not same_second:
            raise RefusedVideo("still_changing", "the object was replaced since it was listed")
        yield copy
