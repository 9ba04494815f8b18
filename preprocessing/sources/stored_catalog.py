"""The catalog of every video ever seen, stored under the root, and its update: the step `source_videos`.

    catalog/videos.parquet          the catalog
            videos.backup.parquet   the same bytes, for `pdfgc repair`
            videos.sha256           sha256 of both; while they are being replaced also of the new ones

Catalogs of earlier versions have no backup and no sha256 and are read all the same.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from preprocessing.orchestration.step import SourceVideo, VideoBatch
from preprocessing.sources.batch_assignment import BatchSettings, assign_batches
from preprocessing.sources.catalog import ACCEPTED, parse_catalog
from preprocessing.sources.lists.segments import Segment
from preprocessing.sources.lists.stored import list_folders, list_names, listed_files, segments_of
from preprocessing.sources.remote import BucketPath, SourcePath, source_path
from preprocessing.sources.scan import ScanSettings, scan
from storage.atomic import remove_dead_partials
from storage.disk import disk_errors_at
from storage.objects import entries, read_bytes, write_bytes
from storage.publishing import ASSETS
from storage.root import scratch_directory
from storage.settings import Settings

CATALOG_FOLDER: Final = "catalog"
CATALOG_NAME: Final = "videos.parquet"
BACKUP_NAME: Final = "videos.backup.parquet"
DIGEST_NAME: Final = "videos.sha256"
SHA256: Final = re.compile(r"[0-9a-f]{64}")


class SourceSettings(Settings):
    """How videos are scanned and grouped."""

    scan: ScanSettings = ScanSettings()
    batches: BatchSettings = BatchSettings()


@dataclass(frozen=True)
class SourceReport:
    """Result of a scan."""

    catalog: pa.Table
    files_found: int
    files_read: int
    newly_missing: int
    unreadable_folders: tuple[str, ...]
    other_files: dict[str, int]  # number of files that are no videos, by ending
    new_batches: tuple[str, ...]

    @property
    def refusals(self) -> dict[str, int]:
        """Refused files by reason."""
        refused = self.catalog.filter(pc.field("status") != ACCEPTED)
        return dict(Counter(refused["reason"].to_pylist()))


def scan_sources(
    root: UPath,
    folders: Sequence[SourcePath],
    settings: SourceSettings,
    *,
    retry_failed: bool = False,
) -> SourceReport:
    """Update the catalog; on an error it stays unchanged.

    Args:
        root: the storage root.
        folders: folders of videos or prefixes of buckets, in addition to those scanned before.
        settings: of scanning and grouping.
        retry_failed: read files again whose status is `failed`.

    Raises:
        FileNotFoundError: a folder does not exist.
        OSError: a bucket cannot be listed.
        ValueError: there is no folder, neither in `folders` nor in the catalog.
    """
    with catalog_lock(root):
        known = load_catalog(root)
        if known is None and (batches := entries(root, f"{ASSETS}/face_tracks")):
            raise ValueError(
                f"there is no catalog under {root}, but {len(batches)} batches are published, which a scan "
                "would deal again; run: pdfgc repair"
            )
        before = set() if known is None else set(_batches_of(known))
        roots = folders_to_scan(known, [*folders, *list_folders(root)])
        if not roots:
            raise ValueError(
                "no folder of videos: set `folders` in the launchpad, PDFGC_VIDEOS, or "
                "`pdfgc demo --videos FOLDER`"
            )

        copies = scratch_directory(root) / "sources"
        if copies.is_dir():
            remove_dead_partials(copies)
        result = scan(
            roots,
            known,
            settings.scan,
            scratch=copies,
            retry_failed=retry_failed,
            lists=listed_files(root) if list_names(root) else None,
        )
        catalog = assign_batches(result.table, settings.batches)
        save_catalog(root, catalog)
    return SourceReport(
        catalog=catalog,
        files_found=result.files_found,
        files_read=result.files_read,
        newly_missing=result.newly_missing,
        unreadable_folders=result.unreadable_folders,
        other_files=result.other_files,
        new_batches=tuple(sorted(set(_batches_of(catalog)) - before)),
    )


@contextmanager
def catalog_lock(root: UPath) -> Generator[None, None, None]:
    """Held while the catalog is updated."""
    from filelock import FileLock

    folder = scratch_directory(root)
    with disk_errors_at(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with disk_errors_at(folder), FileLock(folder / "catalog.lock"):
        yield


def folders_to_scan(known: pa.Table | None, folders: Sequence[SourcePath]) -> list[SourcePath]:
    """`folders`, absolute, and those of the catalog, each once: local ones before buckets."""
    before = [] if known is None else [source_path(folder) for folder in set(known["root"].to_pylist())]
    all_folders = {folder.absolute() for folder in (*folders, *before)}
    local = sorted(folder for folder in all_folders if isinstance(folder, Path))
    return [*local, *sorted(folder for folder in all_folders if isinstance(folder, BucketPath))]


def accepted_identities(catalog: pa.Table) -> set[str]:
    """The identities with at least one accepted video."""
    return set(catalog.filter(pc.field("status") == ACCEPTED)["identity"].to_pylist())


def source_paths(root: UPath) -> dict[str, Path]:
    """Video id -> path of the accepted sources outside buckets, which may have moved."""
    catalog = load_catalog(root)
    if catalog is None:
        return {}
    accepted = catalog.filter(pc.field("status") == ACCEPTED).select(["video_id", "path"]).to_pylist()
    paths = {entry["video_id"]: source_path(entry["path"]) for entry in accepted}
    return {video_id: path for video_id, path in paths.items() if isinstance(path, Path)}


def load_catalog(root: UPath) -> pa.Table | None:
    """The catalog, or None before the first scan.

    Raises:
        ValueError: it is damaged, or gone although there is a record of it.
    """
    path = root / CATALOG_FOLDER / CATALOG_NAME
    for attempt in (1, 2):  # between the two reads another process may have replaced it
        try:
            data = read_bytes(path)
        except FileNotFoundError:
            data = None
        recorded = recorded_digests(root)
        if data is None and not recorded:
            return None
        digest = "" if data is None else hashlib.sha256(data).hexdigest()
        if data is not None and (digest in recorded or not recorded):
            return parse_catalog(data, str(path))
        if attempt == 2:
            found = f"has sha256 {digest[:16]}, recorded is {recorded[0][:16]}" if digest else "is gone"
            raise ValueError(f"the catalog {path} is damaged: it {found}; run: pdfgc repair")
    raise AssertionError


def recorded_digests(root: UPath) -> tuple[str, ...]:
    """The sha256 that the catalog may have; () if none was recorded.

    Raises:
        ValueError: the record is damaged.
    """
    path = root / CATALOG_FOLDER / DIGEST_NAME
    try:
        digests = tuple(read_bytes(path).decode("ascii", "replace").split("\n")[:-1])
    except FileNotFoundError:
        return ()
    if not digests or not all(SHA256.fullmatch(digest) for digest in digests):
        raise ValueError(f"{path} is damaged: it holds no sha256; run: pdfgc repair")
    return digests


def batch_keys(root: UPath) -> list[str]:
    """Every batch, in order."""
    catalog = load_catalog(root)
    return [] if catalog is None else sorted(set(_batches_of(catalog)))


def load_batch(root: UPath, key: str) -> VideoBatch:
    """The videos of a batch.

    Raises:
        ValueError: the catalog has no such batch.
    """
    catalog = load_catalog(root)
    rows = [] if catalog is None else catalog.filter(pc.field("batch") == key).to_pylist()
    if not rows:
        raise ValueError(f"the catalog under {root} has no batch {key!r}; materialise source_videos first")
    return _batch(key, rows, segments_of(root, {row["path"] for row in rows}))


def load_batches(root: UPath) -> list[VideoBatch]:
    """Every batch, in order, reading the catalog once."""
    catalog = load_catalog(root)
    rows_of_batch: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in [] if catalog is None else catalog.filter(pc.field("batch").is_valid()).to_pylist():
        rows_of_batch[row["batch"]].append(row)
    paths = {row["path"] for rows in rows_of_batch.values() for row in rows}
    segments = segments_of(root, paths)
    return [_batch(key, rows, segments) for key, rows in sorted(rows_of_batch.items())]


def count_missing(root: UPath) -> dict[str, int]:
    """Number of missing videos by batch; batches without any are left out."""
    catalog = load_catalog(root)
    if catalog is None:
        return {}
    missing = catalog.filter(pc.field("batch").is_valid() & ~pc.field("present"))
    return dict(Counter(missing["batch"].to_pylist()))


def _batch(
    key: str, rows: Sequence[Mapping[str, Any]], segments: Mapping[str, tuple[Segment, ...]]
) -> VideoBatch:
    videos = [
        SourceVideo(
            row["video_id"],
            source_path(row["path"]),
            row["relative_path"],
            row["identity"],
            segments.get(row["path"], ()),
            (row["width_px"], row["height_px"]),
        )
        for row in sorted(rows, key=lambda row: row["video_id"])
    ]
    return VideoBatch(key, tuple(videos))


def _batches_of(catalog: pa.Table) -> list[str]:
    return [batch for batch in catalog["batch"].to_pylist() if batch is not None]


def save_catalog(root: UPath, catalog: pa.Table) -> None:
    """Replace the catalog, its backup and the record of their sha256; killed anywhere, they fit together."""
    sink = pa.BufferOutputStream()
    pq.write_table(catalog, sink)
    store_catalog(root, sink.getvalue().to_pybytes())


def store_catalog(root: UPath, data: bytes) -> None:
    """`save_catalog`, of a file's bytes."""
    folder = root / CATALOG_FOLDER
    new = hashlib.sha256(data).hexdigest()
    try:
        before = recorded_digests(root)
    except ValueError:  # damaged: it names nothing worth keeping
        before = ()
    if before:  # else the record comes last: without one, a catalog counts as it is
        _record_digests(root, (new, *(digest for digest in before if digest != new)))
    write_bytes(folder / CATALOG_NAME, data)
    write_bytes(folder / BACKUP_NAME, data)
    _record_digests(root, (new,))


def _record_digests(root: UPath, digests: tuple[str, ...]) -> None:
    text = "".join(f"{digest}\n" for digest in digests)
    write_bytes(root / CATALOG_FOLDER / DIGEST_NAME, text.encode())
