"""The catalog of every video ever seen, stored under the root, and its update: the step `source_videos`."""

from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from preprocessing.orchestration.step import SourceVideo, VideoBatch
from preprocessing.sources.batch_assignment import BatchSettings, assign_batches
from preprocessing.sources.catalog import ACCEPTED, read_catalog, write_catalog
from preprocessing.sources.lists.segments import Segment
from preprocessing.sources.lists.stored import list_folders, list_names, listed_files, segments_of
from preprocessing.sources.remote import BucketPath, SourcePath, source_path
from preprocessing.sources.scan import ScanSettings, scan
from storage.atomic import partial_path, remove_dead_partials
from storage.disk import disk_errors_at
from storage.objects import is_local, local_path, read_bytes, write_bytes
from storage.root import scratch_directory
from storage.settings import Settings

CATALOG_FOLDER: Final = "catalog"
CATALOG_NAME: Final = "videos.parquet"


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
    from filelock import FileLock

    lock_folder = scratch_directory(root)
    with disk_errors_at(lock_folder):
        lock_folder.mkdir(parents=True, exist_ok=True)
    with disk_errors_at(lock_folder), FileLock(lock_folder / "catalog.lock"):
        known = load_catalog(root)
        before = set() if known is None else set(_batches_of(known))
        roots = folders_to_scan(known, [*folders, *list_folders(root)])
        if not roots:
            raise ValueError(
                "no folder of videos: set `folders` in the launchpad, PDFGC_VIDEOS, or "
                "`pdfgc demo --videos FOLDER`"
            )

        copies = lock_folder / "sources"
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
        _save_catalog(root, catalog)
    return SourceReport(
        catalog=catalog,
        files_found=result.files_found,
        files_read=result.files_read,
        newly_missing=result.newly_missing,
        unreadable_folders=result.unreadable_folders,
        other_files=result.other_files,
        new_batches=tuple(sorted(set(_batches_of(catalog)) - before)),
    )


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
    """The catalog, or None before the first scan."""
    folder = root / CATALOG_FOLDER
    if not (folder / CATALOG_NAME).exists():
        return None
    if is_local(root):
        return read_catalog(local_path(folder / CATALOG_NAME))
    with _scratch_catalog(root) as copy:
        copy.write_bytes(read_bytes(folder / CATALOG_NAME))
        return read_catalog(copy)


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


def _save_catalog(root: UPath, catalog: pa.Table) -> None:
    target = root / CATALOG_FOLDER / CATALOG_NAME
    if is_local(root):
        write_catalog(local_path(target), catalog)
        return
    with _scratch_catalog(root) as copy:
        write_catalog(copy, catalog)
        write_bytes(target, copy.read_bytes())


@contextmanager
def _scratch_catalog(root: UPath) -> Generator[Path, None, None]:
    """A temporary path for a bucket's catalog, one per call: a sensor may read while a scan writes."""
    folder = scratch_directory(root)
    folder.mkdir(parents=True, exist_ok=True)
    copy = partial_path(folder / CATALOG_NAME)
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)
