"""Scanning folders and buckets of videos into the catalog: one row for every video file ever seen.

Sources are never moved, changed or deleted. A file is known by its path, size and modification
time; while these stay, it is not opened again. An object of a bucket is a file like any other, except that
it is read as a local copy, which is removed at once. A video is known by its content: `video_id`. Nothing
is lost: a file that vanished keeps its row, a refused one has a row with the reason.
"""

import hashlib
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
from pydantic import Field

from preprocessing.media.container import RefusedVideo
from preprocessing.sources.catalog import ACCEPTED, DUPLICATE, REFUSED, CatalogRow, rows_of, table_of
from preprocessing.sources.discovery import SourceFile, find_videos
from preprocessing.sources.probe import PROBE_VERSION, ProbeSettings, probe
from preprocessing.sources.remote import SourcePath, fetched
from storage.settings import Settings

# Reasons that say something of the moment, not of the content: such a file is read again each time.
PASSING_REASONS: Final = frozenset({"not_accessible", "still_changing", "source_missing"})


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
    files_read: int  # hashed or probed; the others were known and left alone
    newly_missing: int
    unreadable_folders: tuple[str, ...]


def scan(
    roots: Sequence[SourcePath],
    known: pa.Table | None,
    settings: ScanSettings,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    scratch: Path | None = None,
) -> ScanResult:
    """Look at every video file below `roots` and bring the catalog up to date.

    Rows of other roots stay as they are. Content at several paths is one accepted row and
    duplicates; content at a new path whose old file is gone is the same video, moved: it keeps its
    batch. Rows of files that are gone stay, with `present` false.

    Args:
        roots: folders, or prefixes of buckets; the first level below each names the person.
        known: the catalog so far (`CATALOG_SCHEMA`), or None.
        settings: how to scan.
        on_progress: called with (files read so far, files to read).
        scratch: where copies of objects lie while they are read, one a thread; default: the platform's
            temporary directory.

    Raises:
        FileNotFoundError: if a root is no folder; a disk that is not mounted must not empty the catalog.
        OSError: if a bucket cannot be listed.
    """
    found, unreadable_folders = find_videos(roots)
    known_rows = rows_of(known) if known is not None else []
    # Two rows may share a path, if the file's content changed: the one that is there counts.
    row_at = {row.path: row for row in sorted(known_rows, key=lambda row: row.present)}
    probe_key = probe_key_of(settings.probe)
    rows: list[CatalogRow] = []
    fresh: list[SourceFile] = []
    now_ns = time.time_ns()
    for file in found:
        row = row_at.get(file.stored_path)
        if row is not None and _is_unchanged(file, row, probe_key):
            rows.append(_placed(row, file))
        elif is_settled(file, settings.settle_seconds, now_ns):
            fresh.append(file)
        elif row is not None:
            rows.append(row)
    rows += _read_all(fresh, row_at, settings, on_progress, scratch or Path(tempfile.gettempdir()))
    seen = {(row.path, row.sha256) for row in rows}
    scanned = {str(root.resolve()) for root in roots}
    found_paths = {file.stored_path for file in found}
    others = [row for row in known_rows if (row.path, row.sha256) not in seen]
    # A reason of the moment is overtaken by what is found now.
    gone = [
        row
        for row in others
        if (row.root in scanned or row.path in found_paths) and row.reason not in PASSING_REASONS
    ]
    kept = [row for row in others if row.root not in scanned and row.path not in found_paths]
    table_rows = settle_contents(rows + kept, [replace(row, present=False) for row in gone])
    return ScanResult(
        table=table_of(sorted(table_rows, key=lambda row: (row.root, row.relative_path, row.sha256))),
        files_found=len(found),
        files_read=len(fresh),
        newly_missing=sum(row.present for row in gone),
        unreadable_folders=tuple(unreadable_folders),
    )


def is_settled(file: SourceFile, settle_seconds: int, now_ns: int) -> bool:
    """Whether a file was last modified long enough ago to be whole.

    The clock of the machine that holds it may differ a little, so a time just ahead counts as now; one
    further ahead says nothing, and the file would otherwise never settle.
    """
    return abs(now_ns - file.modified_ns) >= settle_seconds * 10**9


def probe_key_of(settings: ProbeSettings) -> str:
    """Version and settings of the probe; a row judged under another key is probed again, not hashed."""
    return f"{PROBE_VERSION}:{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"


def settle_contents(present: Sequence[CatalogRow], gone: Sequence[CatalogRow]) -> list[CatalogRow]:
    """One accepted row for each content, the others duplicates; moved files take over their batch.

    Args:
        present: rows of files that are there.
        gone: rows of files that are not; those whose content is among `present` fall away.

    Returns:
        All rows that stay.
    """
    by_content: dict[str, list[CatalogRow]] = defaultdict(list)
    for row in present:
        if row.status != REFUSED:
            by_content[row.sha256].append(row)
    gone_batches = {row.sha256: row.batch for row in gone if row.status == ACCEPTED}
    settled = [row for row in present if row.status == REFUSED]
    for content, rows in by_content.items():
        # Who was accepted before stays so; else the first path.
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
        and row.reason not in PASSING_REASONS
    )


def _placed(row: CatalogRow, file: SourceFile) -> CatalogRow:
    """A known row, found again: it is there, and it belongs to the root it was found under."""
    root = str(file.root)
    if row.present and row.root == root:
        return row
    return replace(row, present=True, root=root, relative_path=file.relative_path, identity=file.identity)


def _read_all(
    files: Sequence[SourceFile],
    row_at: dict[str, CatalogRow],
    settings: ScanSettings,
    on_progress: Callable[[int, int], None] | None,
    scratch: Path,
) -> list[CatalogRow]:
    def read(file: SourceFile) -> CatalogRow:
        return read_file(file, row_at.get(file.stored_path), settings.probe, scratch)

    rows: list[CatalogRow] = []
    with ThreadPoolExecutor(settings.threads) as pool:
        for row in pool.map(read, files):
            rows.append(row)
            if on_progress is not None:
                on_progress(len(rows), len(files))
    return rows


def read_file(
    file: SourceFile, known: CatalogRow | None, settings: ProbeSettings, scratch: Path
) -> CatalogRow:
    """Hash and probe one file. Whatever is wrong with it becomes the row's reason.

    Args:
        file: what to read.
        known: the row at this path so far; its hash is taken over while size and time are the same,
            its batch while the content is.
        settings: of the probe.
        scratch: where a copy of an object lies meanwhile.
    """
    digest = ""
    try:
        _check_name(file)
        with _unchanging(file, scratch) as path:
            digest = known_digest(file, known) or hash_file(path)
            facts = probe(path, settings)
        reason, detail = "", ""
    except RefusedVideo as refusal:
        facts, reason, detail = None, refusal.reason, refusal.detail
    except OSError as error:
        facts, reason, detail = None, "not_accessible", f"{type(error).__name__}: {error.strerror or error}"
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
        status=ACCEPTED if facts is not None else REFUSED,
        reason=reason,
        detail=detail,
        batch=known.batch if known is not None and same_content else None,
        probe_key=probe_key_of(settings),
        facts=facts,
    )


def known_digest(file: SourceFile, known: CatalogRow | None) -> str:
    """The hash of a file that has not changed since its row was written; empty if that is not sure."""
    if known is None or known.reason in PASSING_REASONS:
        return ""
    is_same = (file.size_bytes, file.modified_ns) == (known.size_bytes, known.modified_ns)
    return known.sha256 if is_same else ""


def _check_name(file: SourceFile) -> None:
    if not file.has_utf8_name:
        raise RefusedVideo("name_not_utf8", "the path is not UTF-8 and cannot be kept in a table; rename it")


@contextmanager
def _unchanging(file: SourceFile, scratch: Path) -> Generator[Path, None, None]:
    """The file where it lies, or a copy of the object; raises RefusedVideo if it is not what was listed."""
    source = file.path
    if isinstance(source, Path):
        yield source
        status = source.stat()
        if (status.st_size, status.st_mtime_ns) != (file.size_bytes, file.modified_ns):
            raise RefusedVideo("still_changing", "the file changed while it was read")
        return
    with fetched(source, scratch / f"source{source.suffix}") as (copy, found):
        # Lists tell milliseconds, an object's own headers whole seconds.
        seconds = (found.modified_ns // 10**9, file.modified_ns // 10**9)
        if found.size_bytes != file.size_bytes or seconds[0] != seconds[1]:
            raise RefusedVideo("still_changing", "the object was replaced since it was listed")
        yield copy


def hash_file(path: Path) -> str:
    """Sha256 of a file's content, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
