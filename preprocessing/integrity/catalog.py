"""Check the catalog against its record and against what is published; the sources against the catalog."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from upath import UPath

from preprocessing.orchestration.step import VideoBatch
from preprocessing.orchestration.steps import STEPS
from preprocessing.sources.batch_assignment import batch_key
from preprocessing.sources.catalog import ACCEPTED, CatalogRow, rows_of
from preprocessing.sources.lists.stored import LISTS_FOLDER, add_again, list_fault, recorded_lists
from preprocessing.sources.remote import BucketPath, source_path
from preprocessing.sources.stored_catalog import (
    BACKUP_NAME,
    CATALOG_FOLDER,
    CATALOG_NAME,
    load_batches,
    load_catalog,
    recorded_digests,
)
from storage.fingerprint import file_sha256, fingerprint
from storage.integrity.builds import BuildsFound
from storage.integrity.faults import NOTHING, Fault, sha256_text
from storage.integrity.reading import Expectation
from storage.objects import exists, read_sha256
from storage.remote.bucket import find_object, open_store, read_chunks

CATALOG: Final = f"{CATALOG_FOLDER}/{CATALOG_NAME}"
BATCH_NUMBER: Final = re.compile(r"b(\d{5,})-[0-9a-f]{8}$")
ALL_BATCHES: Final = ("every batch",)
RESTORE: Final = "restore the file, or scan again: pdfgc preprocess"


def check_catalog(root: UPath, builds: BuildsFound) -> list[Fault]:
    """The catalog, its backup and its record; then each batch against its name and its files."""
    published = sorted({name for asset, name in builds.partitions if asset in STEPS})
    try:
        catalog = load_catalog(root)
    except ValueError as error:
        return [_catalog_fault("a catalog as recorded", str(error))]
    if catalog is None:
        found = f"{NOTHING}, but {len(published)} batches are published"
        return [_catalog_fault("a catalog", found)] if published else []
    batches = {batch.key: batch for batch in load_batches(root)}
    faults = _check_backup(root)
    unknown = [key for key in published if key not in batches]
    faults += [_catalog_fault(f"batch {key}, which is published", NOTHING) for key in unknown]
    for key, batch in batches.items():
        faults += _check_batch(key, batch, builds)
    return faults


def _catalog_fault(expected: str, found: str) -> Fault:
    return Fault("catalog", CATALOG, expected, found, affects=ALL_BATCHES)


def _check_backup(root: UPath) -> list[Fault]:
    recorded = recorded_digests(root)
    if not recorded:
        return []  # of an earlier version
    path = f"{CATALOG_FOLDER}/{BACKUP_NAME}"
    try:
        found = read_sha256(root / path)
    except FileNotFoundError:
        found = ""
    if found in recorded:
        return []
    return [Fault("catalog", path, sha256_text(recorded[0]), sha256_text(found))]


def _check_batch(key: str, batch: VideoBatch, builds: BuildsFound) -> list[Fault]:
    """A batch's name has a hash of its video ids, and its face tracks name them."""
    video_ids = [video.video_id for video in batch.videos]
    if not batch_names_its_videos(key, video_ids):
        return [_catalog_fault(f"the videos that {key} was named for", f"{len(video_ids)} others")]
    partition = builds.partitions.get(("face_tracks", key))
    if partition is None or partition.current is None:
        return []
    manifest = partition.manifests.get(f"assets/face_tracks/{key}/{partition.current}")
    videos = None if manifest is None else manifest.inputs.get("videos")
    if videos is None or videos.digest == fingerprint(video_ids):
        return []
    return [_catalog_fault(f"the videos that face_tracks of {key} was built of", "others")]


def batch_names_its_videos(key: str, video_ids: Sequence[str]) -> bool:
    """Whether a batch has the name that its videos give it; True for names of another form."""
    number = BATCH_NUMBER.match(key)
    return number is None or batch_key(int(number[1]), video_ids) == key


def check_lists(root: UPath) -> list[Fault]:
    """The lists of videos against their record; the files have some tens of MB at most and are read whole."""
    faults: list[Fault] = []
    for name in recorded_lists(root):
        path = f"{LISTS_FOLDER}/{name}.parquet"
        found = read_sha256(root / path) if exists(root, path) else ""
        if fault := list_fault(root, name, found):
            faults.append(Fault("record", path, *fault, mend=add_again(name)))
    return faults


def check_sources(root: UPath) -> list[Fault]:
    """The accepted local sources by size and modification time, without reading them."""
    faults: list[Fault] = []
    for row in _present_rows(root):
        path = source_path(row.path)
        if not isinstance(path, Path):
            continue  # listing a bucket is what a scan does
        try:
            status = path.stat()
        except OSError as error:
            faults.append(_source_fault(row, "the file", error.strerror or str(error)))
            continue
        found = (status.st_size, status.st_mtime_ns)
        if found != (row.size_bytes, row.modified_ns):
            expected = f"{row.size_bytes} bytes of time {row.modified_ns}"
            faults.append(_source_fault(row, expected, f"{found[0]} bytes of time {found[1]}"))
    return faults


def expect_sources(root: UPath) -> list[Expectation]:
    """What reading the accepted sources must give."""
    return [
        Expectation(
            row.path,
            row.sha256,
            row.size_bytes,
            "source",
            lambda row=row: _source_sha256(row.path),
            mend=RESTORE,
            affects=_affects(row),
        )
        for row in _present_rows(root)
    ]


def _present_rows(root: UPath) -> Sequence[CatalogRow]:
    try:
        catalog = load_catalog(root)
    except ValueError:  # a fault of the catalog
        return []
    rows = [] if catalog is None else rows_of(catalog)
    return [row for row in rows if row.status == ACCEPTED and row.present]


def _source_fault(row: CatalogRow, expected: str, found: str) -> Fault:
    return Fault("source", row.path, expected, found, RESTORE, _affects(row))


def _affects(row: CatalogRow) -> tuple[str, ...]:
    return (f"face_tracks/{row.batch}",) if row.batch is not None else ()


def _source_sha256(location: str) -> str:
    path = source_path(location)
    if isinstance(path, Path):
        return file_sha256(path)
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(path: BucketPath) -> Iterator[bytes]:
    store = open_store(f"s3://{path.bucket}", patient=True)
    yield from read_chunks(store, find_object(store, path.key))
