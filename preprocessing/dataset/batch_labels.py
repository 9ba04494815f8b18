"""What the labels of each batch contain, read from its shards once and kept with the data set.

Reading labels costs milliseconds a sample. A data set keeps three small tables of the result by batch, so
that the next one reads the shards of new and changed batches only, and merges the rest.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing.archive import Place
from preprocessing.dataset import packing
from preprocessing.dataset.index import ShardSet, main_identity
from preprocessing.dataset.splits import SPLITS, Split
from preprocessing.dataset.statistics import Distribution, LabelStatistics, SampleLabels, read_labels_at
from preprocessing.schema import SCHEMA_VERSION
from preprocessing.table_schema import column, table_schema

FOLDER: Final = "batch_labels"
_BATCH: Final = (
    column("batch", pa.string(), "batch that the samples were made in"),
    column("digest", pa.string(), "of the batch's shards and of the way they are read"),
)
TABLES: Final = {
    "labellers": table_schema(
        *_BATCH,
        column("labellers", pa.string(), "JSON object: label -> labeller"),
        column("samples", pa.int64(), "number of samples labelled so"),
        column("shard", pa.string(), "the first such shard, a file name"),
    ),
    "anchors": table_schema(
        *_BATCH,
        column("main_identity", pa.string(), "of the samples"),
        column("eyes_identity", pa.string(), "main identity of the eyes in their anchors"),
        column("anchors", pa.int64(), "number of anchors"),
    ),
    "distributions": table_schema(
        *_BATCH,
        column("name", pa.string(), "quantity"),
        column("bins", pa.list_(pa.int32()), "bins with values, of those of the quantity's range"),
        column("counts", pa.list_(pa.int64()), "number of values in each"),
        column("sum", pa.float64(), "of the values"),
        column("smallest", pa.float64(), "value"),
        column("largest", pa.float64(), "value"),
    ),
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchLabels:
    """The tables of `TABLES`, by name, with rows of every batch that has samples."""

    tables: Mapping[str, pa.Table]

    def write(self, folder: Path) -> None:
        """Write the tables below a data set's folder."""
        (folder / FOLDER).mkdir(exist_ok=True)
        for name, table in self.tables.items():
            pq.write_table(table, folder / FOLDER / f"{name}.parquet")

    def statistics(self) -> LabelStatistics:
        """The distributions over all batches."""
        merged = LabelStatistics()
        table = self.tables["distributions"]
        for name in sorted(set(table["name"].to_pylist())):
            rows = table.filter(pc.field("name") == name)
            merged.distribution(name).add_counts(
                _flat(rows["bins"]),
                _flat(rows["counts"]),
                rows["sum"].to_numpy(),
                min(rows["smallest"].to_pylist()),
                max(rows["largest"].to_pylist()),
            )
        return merged


def read_batch_labels(folder: Path) -> BatchLabels | None:
    """The tables of a data set; None for one of an earlier version, which kept none."""
    if not (folder / FOLDER).is_dir():
        return None
    return BatchLabels(
        {name: pq.read_table(folder / FOLDER / f"{name}.parquet", schema=TABLES[name]) for name in TABLES}
    )


def labels_of_batches(shards: Mapping[str, ShardSet], before: BatchLabels | None) -> BatchLabels:
    """The labels of all batches; shards are read of those alone that `before` does not hold.

    Raises:
        ValueError: a sample has another schema version, or a shard does not match its index.
    """
    digests = {batch: f"{SCHEMA_VERSION}:{shard_set.digest}" for batch, shard_set in shards.items()}
    known = {} if before is None else _known(before)
    kept = {batch for batch, digest in digests.items() if known.get(batch) == digest}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for batch in sorted(shards.keys() - kept):
        for name, read in _read_batch(shards[batch]).items():
            rows[name] += [{"batch": batch, "digest": digests[batch], **row} for row in read]
    logger.info("Labels of %d batches read, %d known", len(shards) - len(kept), len(kept))
    tables: dict[str, pa.Table] = {}
    for name, schema in TABLES.items():
        new = pa.Table.from_pylist(rows[name], schema=schema)
        if before is not None:
            held = before.tables[name]
            new = pa.concat_tables(
                [held.filter(pc.field("batch").isin(pa.array(sorted(kept), pa.string()))), new]
            )
        tables[name] = new.sort_by([(key, "ascending") for key in ("batch", new.column_names[2])])
    return BatchLabels(tables)


def _known(before: BatchLabels) -> dict[str, str]:
    table = before.tables["labellers"]
    return dict(zip(table["batch"].to_pylist(), table["digest"].to_pylist(), strict=True))


def _read_batch(shard_set: ShardSet) -> dict[str, list[dict[str, Any]]]:
    statistics = LabelStatistics()
    samples: Counter[str] = Counter()
    first_shard: dict[str, str] = {}
    anchors: Counter[tuple[str, str]] = Counter()
    for shard, row, labels in _samples(shard_set):
        _check_sample(labels, row, f"{shard_set.location.rstrip('/')}/{shard}")
        statistics.add(labels)
        labellers = json.dumps(dict(labels.labellers), sort_keys=True)
        samples[labellers] += 1
        first_shard.setdefault(labellers, shard)
        own = main_identity(row["identity"], row["key"])
        anchors.update((own, main_identity(*eyes)) for eyes in labels.eyes)
    return {
        "labellers": [
            {"labellers": each, "samples": count, "shard": first_shard[each]}
            for each, count in samples.items()
        ],
        "anchors": [
            {"main_identity": own, "eyes_identity": eyes, "anchors": count}
            for (own, eyes), count in anchors.items()
        ],
        "distributions": [
            _distribution_row(name, each)
            for name, each in statistics.distributions.items()
            if each.counts.any()
        ],
    }


def _distribution_row(name: str, distribution: Distribution) -> dict[str, Any]:
    bins = np.flatnonzero(distribution.counts)
    return {
        "name": name,
        "bins": bins.tolist(),
        "counts": distribution.counts[bins].tolist(),
        "sum": distribution.sum,
        "smallest": distribution.smallest,
        "largest": distribution.largest,
    }


def _flat(lists: pa.ChunkedArray) -> Any:
    return lists.combine_chunks().flatten().to_numpy()


def _samples(shard_set: ShardSet) -> Iterator[tuple[str, dict[str, Any], SampleLabels]]:
    """The shard, the row of the shards' index and the labels of every sample; opens one shard at a time."""
    index = packing.read_shard_index(shard_set.folder)
    for name in sorted(set(index["shard"].to_pylist())):
        with (shard_set.folder / name).open("rb") as shard:
            for row in index.filter(pc.field("shard") == name).to_pylist():
                place = Place(row["offset_bytes"], row["size_bytes"])
                yield name, row, read_labels_at(shard, place, row["key"])


def _check_sample(labels: SampleLabels, row: Mapping[str, Any], location: str) -> None:
    if labels.schema_version != SCHEMA_VERSION:
        raise ValueError(
            f"{location}: sample {row['key']} has schema version {labels.schema_version}, this code reads "
            f"{SCHEMA_VERSION}; build the shards again"
        )
    if len(labels.pose) != row["frames"]:
        raise ValueError(
            f"{location}: sample {row['key']} has {len(labels.pose)} frames, its index says {row['frames']}"
        )


def labelled_samples(
    labels: BatchLabels, locations: Mapping[str, str]
) -> list[tuple[Mapping[str, str], int, str]]:
    """The labellers of samples, how many samples they labelled, and where the first lies.

    Args:
        labels: of all batches.
        locations: of the shards by batch, relative to the root.
    """
    table = labels.tables["labellers"].select(["batch", "labellers", "samples", "shard"])
    rows = [(row["batch"], row["labellers"], row["samples"], row["shard"]) for row in table.to_pylist()]
    return [
        (json.loads(labellers), samples, f"{locations[batch].rstrip('/')}/{shard}")
        for batch, labellers, samples, shard in rows
    ]


def anchors_across(labels: BatchLabels, splits: Mapping[str, Split]) -> dict[Split, int]:
    """Split -> anchors of its samples with eyes of another split."""
    across = dict.fromkeys(SPLITS, 0)
    for row in labels.tables["anchors"].to_pylist():
        split = splits[row["main_identity"]]
        if splits.get(row["eyes_identity"]) != split:
            across[split] += row["anchors"]
    return across
