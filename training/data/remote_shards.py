"""Shards of a bucket for training: a sample is fetched when it is first read, into a bounded local cache."""

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from upath import UPath

from storage.integrity.block_checksums import CHECKSUMS_SUFFIX, parse_checksums
from storage.manifest import FileRecord, Manifest
from storage.remote.sparse_cache import CACHE_VARIABLE, GIB, SparseCache, SparseCopy, cache_limit_bytes
from storage.remote.transfer import damage, read_manifest
from storage.root import scratch_directory

CACHE_FOLDER: Final = "shard_cache"  # of the scratch directory
REQUESTS_AT_ONCE: Final = 16

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteShards:
    """Where the shards of a split are, and what their manifests say. Pickles into loader workers."""

    root: UPath
    names: tuple[str, ...]  # of each shard, relative to the root
    records: tuple[FileRecord, ...]
    checksums: tuple[FileRecord | None, ...]  # of the file of its blocks' checksums, where it has one
    cache: SparseCache

    def open(self, shard: int) -> SparseCopy:
        """Open the local copy of a shard, in which samples are fetched by `SparseCopy.require`."""
        record = self.records[shard]
        return self.cache.open(self.root / self.names[shard], record.sha256, record.size_bytes)

    def read_checksums(self, shard: int) -> Sequence[int] | None:
        """The checksums of a shard's blocks; None if it has none.

        Raises:
            ValueError: their file is damaged.
        """
        record = self.checksums[shard]
        if record is None:
            return None
        name = self.names[shard] + CHECKSUMS_SUFFIX
        copy = self.cache.open(self.root / name, record.sha256, record.size_bytes)
        try:
            copy.require(0, record.size_bytes)
            data = os.pread(copy.descriptor, record.size_bytes, 0)
            if hashlib.sha256(data).hexdigest() != record.sha256:  # the copy, or the object itself
                copy.fetch_again(0, record.size_bytes)
                data = os.pread(copy.descriptor, record.size_bytes, 0)
        finally:
            copy.close()
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise ValueError(f"{self.root / name} is damaged; run: pdfgc repair")
        return parse_checksums(data, self.records[shard].size_bytes, name)


def find_remote_shards(root: UPath, names: Sequence[str]) -> RemoteShards:
    """What the manifests of the builds say about shards of a bucket.

    Args:
        root: in a bucket.
        names: of the shards, relative to the root.

    Raises:
        ValueError: a build is not there, is damaged, or has no such shard.
    """
    folders = sorted({name.rpartition("/")[0] for name in names})
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        manifests = dict(
            zip(folders, pool.map(lambda folder: _manifest(root / folder), folders), strict=True)
        )
    records: list[FileRecord] = []
    checksums: list[FileRecord | None] = []
    for name in names:
        folder, _, file = name.rpartition("/")
        files = manifests[folder].files
        if file not in files:
            raise ValueError(f"{root / folder}: its manifest has no {file}; run: pdfgc repair")
        records.append(files[file])
        checksums.append(files.get(file + CHECKSUMS_SUFFIX))
    total = sum(record.size_bytes for record in records)
    if total > cache_limit_bytes():
        logger.warning(
            "The shards have %.0f GiB, more than %s (%.0f): samples are fetched again in every epoch",
            total / GIB,
            CACHE_VARIABLE,
            cache_limit_bytes() / GIB,
        )
    cache = SparseCache(scratch_directory(root) / CACHE_FOLDER, cache_limit_bytes())
    return RemoteShards(root, tuple(names), tuple(records), tuple(checksums), cache)


def _manifest(directory: UPath) -> Manifest:
    manifest = read_manifest(directory)
    if manifest is None:
        raise ValueError(f"nothing is published in {directory}: run the pipeline up to `shards` again")
    if (wrong := damage(directory, manifest)) is not None:
        raise ValueError(f"{directory} is damaged: {wrong}; run: pdfgc repair")
    return manifest
