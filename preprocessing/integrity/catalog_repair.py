"""Restore the catalog: from its backup, or from what is published and a new scan, with the same batches.

The name of a batch has a hash of its video ids, and its face tracks name each of them, so published batches
are known without the catalog. Batches of which nothing was published are dealt again.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
from upath import UPath

from preprocessing.clips.store import read_clip_table
from preprocessing.integrity.catalog import batch_names_its_videos
from preprocessing.sources.batch_assignment import assign_batches
from preprocessing.sources.catalog import ACCEPTED, CatalogRow, parse_catalog, rows_of, table_of
from preprocessing.sources.lists.stored import list_folders, list_names, listed_files
from preprocessing.sources.remote import SourcePath
from preprocessing.sources.scan import scan
from preprocessing.sources.stored_catalog import (
    BACKUP_NAME,
    CATALOG_FOLDER,
    CATALOG_NAME,
    SourceSettings,
    catalog_lock,
    folders_to_scan,
    recorded_digests,
    save_catalog,
    store_catalog,
)
from storage.integrity.builds import BuildsFound
from storage.objects import read_bytes
from storage.root import local_copy, scratch_directory

logger = logging.getLogger(__name__)

UNKNOWN: Final = "unknown"


def usable_catalog(root: UPath) -> tuple[str, bytes] | None:
    """Name and bytes of the catalog or its backup, whichever is as recorded; None if neither is.

    Without a record that can be read: whichever is a catalog whose batches fit their names.
    """
    try:
        recorded = recorded_digests(root)
    except ValueError:
        recorded = ()
    for name in (CATALOG_NAME, BACKUP_NAME):
        try:
            data = read_bytes(root / CATALOG_FOLDER / name)
            table = parse_catalog(data, name)
        except (FileNotFoundError, ValueError):
            continue
        if hashlib.sha256(data).hexdigest() in recorded or (not recorded and _is_consistent(table)):
            return name, data
    return None


def restore_catalog(root: UPath) -> None:
    """Write catalog, backup and record from the one that is in order."""
    with catalog_lock(root):
        usable = usable_catalog(root)
        if usable is not None:
            store_catalog(root, usable[1])


def published_batches(builds: BuildsFound) -> dict[str, tuple[str, ...]]:
    """Batch -> its video ids, of every batch whose face tracks are published and fit its name."""
    batches: dict[str, tuple[str, ...]] = {}
    for manifest in builds.manifests.values():
        if manifest.asset == "face_tracks":
            names = [name.split("/")[0] for name in manifest.files if name.endswith("/video.json")]
            if batch_names_its_videos(manifest.partition, names):
                batches[manifest.partition] = tuple(sorted(names))
    return batches


def remembered_folders(root: UPath) -> list[str]:
    """The scanned folders by the catalog or its backup, even if these are damaged but can be read."""
    folders: set[str] = set()
    for name in (CATALOG_NAME, BACKUP_NAME):
        try:
            table = parse_catalog(read_bytes(root / CATALOG_FOLDER / name), name)
            folders |= {str(folder) for folder in table["root"].to_pylist()}
        except (FileNotFoundError, ValueError, UnicodeDecodeError):
            continue
    return sorted(folders)


def rebuild_catalog(
    root: UPath, builds: BuildsFound, folders: Sequence[SourcePath], settings: SourceSettings
) -> None:
    """Scan the folders anew; videos of published batches keep their batch.

    Videos whose file is not found keep a row, as missing.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: there is no folder.
    """
    if not folders:
        raise ValueError("the catalog is lost: name the folders of videos, pdfgc repair --videos FOLDER")
    batches = published_batches(builds)
    batch_of = {video_id: key for key, videos in batches.items() for video_id in videos}
    with catalog_lock(root):
        copies = scratch_directory(root) / "sources"
        scanned = folders_to_scan(None, [*folders, *list_folders(root)])
        lists = listed_files(root) if list_names(root) else None
        result = scan(scanned, None, settings.scan, scratch=copies, lists=lists)
        rows = [_in_batch(row, batch_of) for row in rows_of(result.table)]
        found = {row.video_id for row in rows if row.status == ACCEPTED}
        for key, videos in batches.items():
            missing = [video_id for video_id in videos if video_id not in found]
            identities = _identities(root, builds, key) if missing else {}
            rows += [_missing_row(video_id, key, identities, str(folders[0])) for video_id in missing]
        table = assign_batches(table_of(rows), settings.batches)
        logger.info("Rebuilt the catalog: %d rows, %d batches as published", table.num_rows, len(batches))
        save_catalog(root, table)


def _is_consistent(table: pa.Table) -> bool:
    videos: dict[str, list[str]] = {}
    for row in table.select(["batch", "video_id"]).to_pylist():
        if row["batch"] is not None:
            videos.setdefault(row["batch"], []).append(row["video_id"])
    return all(batch_names_its_videos(key, ids) for key, ids in videos.items())


def _in_batch(row: CatalogRow, batch_of: Mapping[str, str]) -> CatalogRow:
    if row.status != ACCEPTED:
        return row
    return replace(row, batch=batch_of.get(row.video_id))


def _identities(root: UPath, builds: BuildsFound, key: str) -> dict[str, str]:
    """Video id -> identity, by the clips of a batch."""
    partition = builds.partitions.get(("clips", key))
    if partition is None or f"assets/clips/{key}/{partition.current}" not in partition.manifests:
        return {}
    table: Any = read_clip_table(local_copy(root / f"assets/clips/{key}/{partition.current}"))
    return dict(zip(table["video_id"].to_pylist(), table["identity"].to_pylist(), strict=True))


def _missing_row(video_id: str, key: str, identities: Mapping[str, str], root: str) -> CatalogRow:
    identity = identities.get(video_id, UNKNOWN)
    return CatalogRow(
        video_id=video_id,
        sha256=video_id,  # all that is known of it
        path=f"{root}/{identity}/{video_id}",
        relative_path=f"{identity}/{video_id}",
        root=root,
        identity=identity,
        size_bytes=0,
        modified_ns=0,
        present=False,
        status=ACCEPTED,
        reason="",
        detail="",
        batch=key,
        probe_key="",
        facts=None,
    )
