"""How much of the data set differs from an earlier one."""

from collections.abc import Mapping

import pyarrow.parquet as pq
from upath import UPath

from preprocessing.dataset.joining import SHARDS_TABLE, read_dataset_index
from preprocessing.dataset.whole import DATASET, WHOLE
from storage.publishing import Published, current, find_content
from storage.root import local_copy


def changed_share(root: UPath, since: str) -> float:
    """Share of the samples in either data set that are not, with the same shard, in the other.

    A shard whose bytes changed counts with all of its samples.

    Args:
        root: from `open_root`.
        since: content digest of the earlier data set, 64 hex digits.

    Returns:
        0 (the same) to 1 (nothing in common, or the earlier one was collected).

    Raises:
        ValueError: there is no data set.
    """
    now = current(root, DATASET, WHOLE)
    if now is None:
        raise ValueError(f"no data set is published under {root}: materialise `dataset` first")
    if now.manifest.content_digest == since:
        return 0.0
    before = find_content(root, DATASET, WHOLE, since)
    if before is None:
        return 1.0
    new, old = _samples(now), _samples(before)
    same = sum(old.get(key) == shard for key, shard in new.items())
    return 1.0 - same / max(1, len(new.keys() | old.keys()))


def _samples(published: Published) -> Mapping[str, str]:
    """Sample's key -> sha256 of its shard."""
    folder = local_copy(published.directory)
    shards = pq.read_table(folder / SHARDS_TABLE)
    digests = dict(zip(shards["shard"].to_pylist(), shards["sha256"].to_pylist(), strict=True))
    index = read_dataset_index(folder)
    shard_of = zip(index["key"].to_pylist(), index["shard"].to_pylist(), strict=True)
    return {key: digests[shard] for key, shard in shard_of}
