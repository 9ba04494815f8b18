"""Check the current data set against the shards that it names."""

from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from preprocessing.dataset.index import (
    DATASET,
    SHARDS_SCHEMA,
    SHARDS_TABLE,
    WHOLE,
    index_problems,
    read_dataset_index,
)
from preprocessing.dataset.packing import SHARD_INDEX_SCHEMA, SHARD_INDEX_TABLE
from preprocessing.schema import INDEX_TABLE
from storage.integrity.builds import BuildsFound
from storage.integrity.faults import NOTHING, Fault, sha256_text
from storage.manifest import Manifest
from storage.objects import read_bytes
from storage.root import local_copy

PLACE: Final = ("key", "shard", "offset_bytes", "size_bytes", "frames", "anchors")


def check_dataset(root: UPath, builds: BuildsFound) -> list[Fault]:
    """Index, splits and shards of the current data set agree with each other and with the manifests."""
    partition = builds.partitions.get((DATASET, WHOLE))
    if partition is None or partition.current is None:
        return []
    location = f"assets/{DATASET}/{WHOLE}/{partition.current}"
    if location not in builds.manifests:
        return []  # a fault of the build
    affects = builds.names_affected_by(location)

    def fault(name: str, expected: str, found: str) -> Fault:
        return Fault("dataset", f"{location}/{name}", expected, found, affects=affects, build=location)

    try:
        folder = local_copy(root / location)
        shards = pq.read_table(folder / SHARDS_TABLE, schema=SHARDS_SCHEMA).to_pylist()
        index = read_dataset_index(folder)
        problems = index_problems(folder)
    except (pa.ArrowException, OSError, ValueError) as error:
        return [fault(INDEX_TABLE, "tables that can be read", str(error).splitlines()[0])]
    faults = [fault(INDEX_TABLE, "people, videos and samples in one split", problem) for problem in problems]
    differences = [_shard_difference(shard, builds.manifests) for shard in shards]
    faults += [fault(SHARDS_TABLE, *difference) for difference in differences if difference is not None]
    faults += [fault(INDEX_TABLE, *difference) for difference in _index_differences(root, index, builds)]
    return faults


def _shard_difference(shard: Mapping[str, Any], manifests: Mapping[str, Manifest]) -> tuple[str, str] | None:
    location, _, name = shard["shard"].rpartition("/")
    manifest = manifests.get(location)
    record = None if manifest is None else manifest.files.get(name)
    if record is None:
        return f"{shard['shard']} in a manifest", NOTHING
    if (record.sha256, record.size_bytes) != (shard["sha256"], shard["size_bytes"]):
        return f"{shard['shard']} with {sha256_text(shard['sha256'])}", sha256_text(record.sha256)
    return None


def _index_differences(root: UPath, index: pa.Table, builds: BuildsFound) -> list[tuple[str, str]]:
    """Samples whose place in the data set's index is not that in the index of their shards."""
    expected: dict[str, tuple[Any, ...]] = {}
    locations = {str(name).rpartition("/")[0] for name in set(index["shard"].to_pylist())}
    differences: list[tuple[str, str]] = []
    for location in sorted(locations & builds.manifests.keys()):
        try:
            data = read_bytes(root / location / SHARD_INDEX_TABLE)
            rows = pq.read_table(pa.BufferReader(data), schema=SHARD_INDEX_SCHEMA)
        except (pa.ArrowException, OSError, ValueError) as error:
            differences.append((f"{location}/{SHARD_INDEX_TABLE}", str(error).splitlines()[0]))
            continue
        expected |= {
            row["key"]: (row["key"], f"{location}/{row['shard']}", *(row[name] for name in PLACE[2:]))
            for row in rows.select(list(PLACE)).to_pylist()
        }
    found = {row["key"]: tuple(row[name] for name in PLACE) for row in index.select(list(PLACE)).to_pylist()}
    return differences + [
        (f"sample {key} at {expected.get(key)}", f"{found.get(key, NOTHING)}")
        for key in sorted(expected.keys() | found.keys())
        if expected.get(key) != found.get(key)
    ]
