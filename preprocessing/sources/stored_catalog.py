"""The catalog of every video ever seen, stored under the root, and its update: the step `source_videos`.

    catalog/videos.parquet          the catalog
            videos.backup.parquet   the same bytes, for `pdfgc repair`
            videos.sha256           sha256 of both; while they are being replaced also of the new ones

Catalogs of earlier versions have no backup and no sha256 and are read all the same.
"""

import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from preprocessing.orchestration.step import SourceVideo, VideoBatch
from preprocessing.sources.batch_assignment import BatchSettings, assign_batches
from preprocessing.sources.catalog import ACCEPTED, parse_catalog
from preprocessing.sources.lists.segments import Segment
from preprocessing.sources.lists.stored import list_folders, list_names, listed_files, segments_of
from preprocessing.sources.remote import BucketPath, SourcePath, source_path
from preprocessing.sources.scan import ScanResult, ScanSettings, scan
from preprocessing.table_filters import rows_equal, rows_unequal, rows_valid
from storage.atomic import remove_dead_partials
from storage.disk import disk_errors_at
from storage.objects import ChangedMeanwhileError, entries, read_tagged, replace_bytes, write_bytes
from storage.publishing import ASSETS
from storage.root import scratch_directory
from storage.settings import Settings

logger = logging.getLogger(__name__)

CATALOG_FOLDER: Final = "catalog"
CATALOG_NAME: Final = "videos.parquet"
BACKUP_NAME: Final = "videos.backup.parquet"
DIGEST_NAME: Final = "videos.sha256"
SHA256: Final = re.compile(r"[0-9a-f]{64}")
SCAN_ATTEMPTS: Final = 5  # while other machines update the same catalog


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
        refused = rows_unequal(self.catalog, "status", ACCEPTED)
        return dict(Counter(refused["reason"].to_pylist()))


def scan_sources(
    root: UPath,
    folders: Sequence[SourcePath],
    settings: SourceSettings,
    *,
    retry_failed: bool = False,
) -> SourceReport:
    """Update the catalog; on an error it stays unchanged.

    If another machine updates the same catalog meanwhile, the scan is done again on top of that update.

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
    update = partial(_update, root, folders, settings, retry_failed)
    with catalog_lock(root):
        for _ in range(SCAN_ATTEMPTS - 1):
            try:
                return update()
            except ChangedMeanwhileError:
                logger.warning("Another machine updated the catalog under %s: scanning again", root)
        return update()


def _update(
    root: UPath, folders: Sequence[SourcePath], settings: SourceSettings, retry_failed: bool
) -> SourceReport:
    known, tag = load_tagged_catalog(root)
    result = _scan(root, folders, known, settings, retry_failed)
    catalog = assign_batches(result.table, settings.batches)
    save_catalog(root, catalog, tag)
    before = set() if known is None else set(_batches_of(known))
    return SourceReport(
        catalog=catalog,
        files_found=result.files_found,
        files_read=result.files_read,
        newly_missing=result.newly_missing,
        unreadable_folders=result.unreadable_folders,
        other_files=result.other_files,
        new_batches=tuple(sorted(set(_batches_of(catalog)) - before)),
    )


def _scan(
    root: UPath,
    folders: Sequence[SourcePath],
    known: pa.Table | None,
    settings: SourceSettings,
    retry_failed: bool,
) -> ScanResult:
    if known is None and (batches := entries(root, f"{ASSETS}/face_tracks")):
        raise ValueError(
            f"there is no catalog under {root}, but {len(batches)} batches are published, which a scan "
            "would deal again; run: pdfgc repair"
        )
    roots = folders_to_scan(known, [*folders, *list_folders(root)])
    if not roots:
        raise ValueError(
            "no folder of videos: set `folders` in the launchpad, PDFGC_VIDEOS, or "
            "`pdfgc demo --videos FOLDER`"
        )
    copies = scratch_directory(root) / "sources"
    if copies.is_dir():
        remove_dead_partials(copies)
    return scan(
        roots,
        known,
        settings.scan,
        scratch=copies,
        retry_failed=retry_failed,
        lists=listed_files(root) if list_names(root) else None,
    )


@contextmanager
def catalog_lock(root: UPath) -> Generator[None, None, None]:
    """Held while the catalog is updated; other machines with the same bucket do not heed it."""
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
    return set(rows_equal(catalog, "status", ACCEPTED)["identity"].to_pylist())


def source_paths(root: UPath) -> dict[str, Path]:
    """Video id -> path of the accepted sources outside buckets, which may have moved."""
    catalog = load_catalog(root)
    if catalog is None:
        return {}
    accepted = rows_equal(catalog, "status", ACCEPTED).select(["video_id", "path"]).to_pylist()
    paths = {entry["video_id"]: source_path(entry["path"]) for entry in accepted}
    return {video_id: path for video_id, path in paths.items() if isinstance(path, Path)}


def load_catalog(root: UPath) -> pa.Table | None:
    """The catalog, or None before the first scan.

    Raises:
        ValueError: it is damaged, or gone although there is a record of it.
    """
    return load_tagged_catalog(root)[0]


def load_tagged_catalog(root: UPath) -> tuple[pa.Table | None, str]:
    """`load_catalog`, and the tag of the catalog's object for `save_catalog`."""
    path = root / CATALOG_FOLDER / CATALOG_NAME
    for attempt in (1, 2):  # between the two reads another process may have replaced it
        data, tag = read_tagged(path)
        recorded = recorded_digests(root)
        if data is None and not recorded:
            return None, tag
        digest = "" if data is None else hashlib.sha256(data).hexdigest()
        if data is not None and (digest in recorded or not recorded):
            return parse_catalog(data, str(path)), tag
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
    data = read_tagged(path)[0]
    if data is None:
        return ()
    digests = tuple(data.decode("ascii", "replace").split("\n")[:-1])
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
    rows = [] if catalog is None else rows_equal(catalog, "batch", key).to_pylist()
    if not rows:
        raise ValueError(f"the catalog under {root} has no batch {key!r}; materialise source_videos first")
    return _batch(key, rows, segments_of(root, {row["path"] for row in rows}))


def load_batches(root: UPath) -> list[VideoBatch]:
    """Every batch, in order, reading the catalog once."""
    catalog = load_catalog(root)
    rows_of_batch: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in [] if catalog is None else rows_valid(catalog, "batch").to_pylist():
        rows_of_batch[row["batch"]].append(row)
    paths = {row["path"] for rows in rows_of_batch.values() for row in rows}
    segments = segments_of(root, paths)
    return [_batch(key, rows, segments) for key, rows in sorted(rows_of_batch.items())]


def count_missing(root: UPath) -> dict[str, int]:
    """Number of missing videos by batch; batches without any are left out."""
    catalog = load_catalog(root)
    if catalog is None:
        return {}
    missing = rows_equal(rows_valid(catalog, "batch"), "present", value=False)
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


def save_catalog(root: UPath, catalog: pa.Table, tag: str | None = None) -> None:
    """Replace the catalog, its backup and the record of their sha256; killed anywhere, they fit together.

    Args:
        root: the storage root.
        catalog: the new one.
        tag: of the catalog that it was made from; None: replace whatever is there.

    Raises:
        ChangedMeanwhileError: another machine replaced the catalog; nothing of it is lost.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(catalog, sink)
    store_catalog(root, sink.getvalue().to_pybytes(), tag)


def store_catalog(root: UPath, data: bytes, tag: str | None = None) -> None:
    """`save_catalog`, of a file's bytes.

    The catalog itself is replaced by a conditional put. Until then the record names its sha256 beside those
    of others, who may be about to replace it too.
    """
    folder = root / CATALOG_FOLDER
    new = hashlib.sha256(data).hexdigest()
    if tag is None:
        tag = read_tagged(folder / CATALOG_NAME)[1]
    # Without a record a catalog counts as it is: then the record comes last.
    own = _record_digest(root, new) if _digests_or_none(root) else ""
    replace_bytes(folder / CATALOG_NAME, data, tag)
    write_bytes(folder / BACKUP_NAME, data)
    _record_digest(root, new, replacing=own)


def _digests_or_none(root: UPath) -> tuple[str, ...]:
    try:
        return recorded_digests(root)
    except ValueError:  # damaged: it names nothing worth keeping
        return ()


def _record_digest(root: UPath, new: str, replacing: str | None = None) -> str:
    """Record a catalog's sha256 before all others, or alone if the record has the tag `replacing`.

    Returns the record's tag.
    """
    path = root / CATALOG_FOLDER / DIGEST_NAME
    while True:
        tag = read_tagged(path)[1]
        others = () if tag == replacing else _digests_or_none(root)
        text = "".join(f"{digest}\n" for digest in dict.fromkeys((new, *others)))
        try:
            return replace_bytes(path, text.encode(), tag)
        except ChangedMeanwhileError:
            continue
