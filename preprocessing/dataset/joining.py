"""The step `dataset`: the shards of all batches become one data set.

Writes `index.parquet` (a row for each sample), `shards.parquet` (each shard), `splits.parquet` (each main
identity), `statistics.json`, `dataset_card.md` and the card's pictures.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field
from upath import UPath

from preprocessing.archive import Place, read_members
from preprocessing.dataset import card as dataset_card
from preprocessing.dataset import packing
from preprocessing.dataset.index import (
    DATASET,
    INDEX_SCHEMA,
    SHARDS_TABLE,
    SPLITS_TABLE,
    WHOLE,
    ShardSet,
    index_problems,
    join_indices,
    main_identity,
    read_dataset_index,
    read_splits,
    splits_table,
)
from preprocessing.dataset.splits import SPLITS, Split, SplitSettings, assign_splits
from preprocessing.dataset.statistics import LabelStatistics, SampleLabels, read_labels_at
from preprocessing.pictures.drawing import spread
from preprocessing.pictures.histograms import draw_histograms
from preprocessing.pictures.mesh_sheet import clip_face, draw_faces
from preprocessing.schema import FRAMES_PER_SECOND, INDEX_TABLE, SCHEMA_VERSION, STATISTICS_NAME
from preprocessing.shards import decode_clip
from preprocessing.sources.lists.stored import listed_splits
from preprocessing.sources.stored_catalog import batch_keys
from storage.fingerprint import fingerprint
from storage.manifest import Input
from storage.publishing import BuildReport, Published, Recipe, current, materialise
from storage.root import local_copy
from storage.settings import Settings

CODE_VERSION: Final = f"2+schema{SCHEMA_VERSION}"
CARD_NAME: Final = "dataset_card.md"
BUILT_IN: Final = "built in"
"""The labeller of samples that do not name one, where other samples do: the default face detector."""

logger = logging.getLogger(__name__)


class DatasetSettings(Settings):
    """How the data set is put together."""

    splits: SplitSettings = SplitSettings()
    allow_mixed_labellers: bool = Field(
        default=False,
        description="Join batches labelled by different labellers, whose labels are not comparable",
    )
    pictured_samples: int = Field(default=15, ge=0, le=100, description="Samples shown on the dataset card")


def run_dataset(root: UPath, settings: DatasetSettings, *, force: bool = False) -> Published:
    """Publish the data set over all batches that have shards, unless it is current.

    Identities keep the splits of the previous data set. Those are not part of the recipe, because the same
    shards give the same splits.

    Raises:
        ValueError: no batch has shards, or as `make_dataset`.
    """
    keys = batch_keys(root)
    batches = {key: published for key in keys if (published := current(root, "shards", key)) is not None}
    if not batches:
        raise ValueError(f"no batch under {root} has shards yet: materialize `shards` of a batch first")
    if missing := sorted(set(keys) - set(batches)):
        logger.info("Skipping batches without shards: %s", ", ".join(missing))
    before = current(root, DATASET, WHOLE)
    splits_before = read_splits(local_copy(before.directory)) if before is not None else {}
    inputs = {key: published.as_input() for key, published in batches.items()}
    if listed := listed_splits(root):
        inputs["listed_splits"] = Input(fingerprint(listed))

    def build(folder: Path) -> BuildReport:
        shards = {key: _shard_set(published) for key, published in batches.items()}
        return make_dataset(shards, splits_before, settings, folder, listed)

    return materialise(root, Recipe(DATASET, WHOLE, CODE_VERSION, settings, inputs), build, force=force)


def _shard_set(published: Published) -> ShardSet:
    digests = {name: record.sha256 for name, record in published.manifest.files.items()}
    return ShardSet(local_copy(published.directory), published.location, digests)


def make_dataset(
    shards: Mapping[str, ShardSet],
    splits_before: Mapping[str, Split],
    settings: DatasetSettings,
    folder: Path,
    listed: Mapping[str, Split] | None = None,
) -> BuildReport:
    """Join the shards of batches.

    Args:
        shards: by batch.
        splits_before: main identity -> split, of the previous data set; {} if there is none.
        settings: of the step.
        folder: where to write.
        listed: identity -> the split that a list gives it; of people in one video, the one held out most.

    Raises:
        ValueError: a key is in two shards, a video has two main identities, samples have another schema
            version or different labellers, or a shard does not match its index.
    """
    index, shard_table = join_indices(shards, splits_before)
    people = _people(index)
    given = _listed_of_main(people, listed or {})
    splits = assign_splits(index["main_identity"].to_pylist(), splits_before, settings.splits, given)
    names = pa.array([splits[identity] for identity in index["main_identity"].to_pylist()], pa.string())
    index = index.append_column("split", names).select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA)
    facts = _read_labels(shards, {person: splits[main] for person, main in people.items()}, settings)
    by_split: dict[Split, dict[str, int | float]] = {
        split: _counts(index.filter(pc.field("split") == split)) for split in SPLITS
    }
    statistics: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "labellers": facts.labellers,
        "total": _counts(index) | _shard_counts(shard_table),
        "splits": {
            split: counts | {"anchors_across_splits": facts.anchors_across_splits[split]}
            for split, counts in by_split.items()
        },
        "distributions": facts.labels.to_json(),
    }
    pq.write_table(index, folder / INDEX_TABLE)
    pq.write_table(shard_table, folder / SHARDS_TABLE)
    pq.write_table(splits_table(splits, index), folder / SPLITS_TABLE)
    text = json.dumps(statistics, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / STATISTICS_NAME).write_text(text + "\n", "utf-8")
    (folder / CARD_NAME).write_text(dataset_card.write_card(statistics, settings.splits), "utf-8")
    _draw_pictures(shards, facts.labels, settings.pictured_samples, folder)
    samples = {f"samples_{split}": counts["samples"] for split, counts in by_split.items()}
    labelled = {
        f"{label} by {labeller}": count
        for label, by_labeller in facts.labellers.items()
        for labeller, count in by_labeller.items()
    }
    return BuildReport(counts={**statistics["total"], **samples, **labelled}, refusals={})


def _people(index: pa.Table) -> dict[str, str]:
    """Main identity of each video -> the one that people of its videos share."""
    columns = (index[name].to_pylist() for name in ("identity", "key", "main_identity"))
    return {main_identity(identity, key): main for identity, key, main in zip(*columns, strict=True)}


def _listed_of_main(people: Mapping[str, str], listed: Mapping[str, Split]) -> dict[str, Split]:
    given: dict[str, Split] = {}
    for person, main in people.items():
        if (split := listed.get(person)) is not None:
            given[main] = SPLITS[max(SPLITS.index(given.get(main, split)), SPLITS.index(split))]
    return given


def check_dataset(folder: Path) -> list[str]:
    """Inconsistencies of a data set, a line each; [] if there is none."""
    problems = index_problems(folder)
    statistics = json.loads((folder / STATISTICS_NAME).read_text("utf-8"))
    stated, indexed = statistics["total"]["samples"], read_dataset_index(folder).num_rows
    if stated != indexed:
        problems.append(f"{STATISTICS_NAME} states {stated} samples, {INDEX_TABLE} has {indexed}")
    return problems


@dataclass(frozen=True)
class _LabelledSamples:
    """The samples that one labeller labelled."""

    count: int
    shard: str  # the first that contains any of them


@dataclass(frozen=True)
class _LabelFacts:
    """What the samples' labels contain together."""

    labels: LabelStatistics
    labellers: dict[str, dict[str, int]]  # label -> labeller -> number of samples
    anchors_across_splits: dict[Split, int]  # anchors of a split's samples with eyes of another split


def _read_labels(
    shards: Mapping[str, ShardSet], splits: Mapping[str, Split], settings: DatasetSettings
) -> _LabelFacts:
    statistics = LabelStatistics()
    shards_by_labellers: dict[tuple[tuple[str, str], ...], list[str]] = {}
    across = dict.fromkeys(SPLITS, 0)
    for location, row, labels in _samples(shards):
        _check_sample(labels, row, location)
        statistics.add(labels)
        shards_by_labellers.setdefault(tuple(sorted(labels.labellers.items())), []).append(location)
        split = splits[main_identity(row["identity"], row["key"])]
        across[split] += sum(splits.get(main_identity(*eyes)) != split for eyes in labels.eyes)
    labellers = _by_labeller(shards_by_labellers)
    if not settings.allow_mixed_labellers:
        _refuse_mixed(labellers)
    counts = {
        label: {name: samples.count for name, samples in by_labeller.items()}
        for label, by_labeller in labellers.items()
    }
    return _LabelFacts(statistics, counts, across)


def _by_labeller(
    samples: Mapping[tuple[tuple[str, str], ...], Sequence[str]],
) -> dict[str, dict[str, _LabelledSamples]]:
    """Label -> labeller -> its samples, sorted by name.

    Args:
        samples: the (label, labeller) pairs of samples -> the shard of each such sample.
    """
    labels = sorted({label for pairs in samples for label, _ in pairs})
    labelled: dict[str, dict[str, _LabelledSamples]] = {label: {} for label in labels}
    for pairs, shards in sorted(samples.items()):
        for label in labels:
            labeller = dict(pairs).get(label, BUILT_IN)
            before = labelled[label].get(labeller, _LabelledSamples(0, shards[0]))
            labelled[label][labeller] = _LabelledSamples(
                before.count + len(shards), min(before.shard, shards[0])
            )
    return {label: dict(sorted(by_labeller.items())) for label, by_labeller in labelled.items()}


def _refuse_mixed(labellers: Mapping[str, Mapping[str, _LabelledSamples]]) -> None:
    mixed = "; ".join(
        f"{label} by "
        + " and by ".join(
            f"{name!r} in {samples.shard} (samples: {samples.count:,})"
            for name, samples in by_labeller.items()
        )
        for label, by_labeller in labellers.items()
        if len(by_labeller) > 1
    )
    if mixed:
        raise ValueError(f"labellers differ: {mixed}; build the labels again, or set allow_mixed_labellers")


def _samples(shards: Mapping[str, ShardSet]) -> Iterator[tuple[str, dict[str, Any], SampleLabels]]:
    """The shard, the row of the shards' index and the labels of every sample; opens one shard at a time."""
    for _, shard_set in sorted(shards.items()):
        index = packing.read_shard_index(shard_set.folder)
        for name in sorted(set(index["shard"].to_pylist())):
            with (shard_set.folder / name).open("rb") as shard:
                for row in index.filter(pc.field("shard") == name).to_pylist():
                    place = Place(row["offset_bytes"], row["size_bytes"])
                    yield (
                        f"{shard_set.location.rstrip('/')}/{name}",
                        row,
                        read_labels_at(shard, place, row["key"]),
                    )


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


def _counts(index: pa.Table) -> dict[str, int | float]:
    (counts,) = (
        index.group_by([])
        .aggregate(
            [
                ("frames", "sum"),
                ("anchors", "sum"),
                ("identity", "count_distinct"),
                ("video_id", "count_distinct"),
            ]
        )
        .to_pylist()
    )
    frames = counts["frames_sum"] or 0
    return {
        "samples": index.num_rows,
        "frames": frames,
        "hours": round(frames / FRAMES_PER_SECOND / 3600, 6),
        "identities": counts["identity_count_distinct"],
        "videos": counts["video_id_count_distinct"],
        "anchors": counts["anchors_sum"] or 0,
    }


def _shard_counts(shards: pa.Table) -> dict[str, int | float]:
    return {
        "batches": len(set(shards["batch"].to_pylist())),
        "shards": shards.num_rows,
        "bytes": sum(shards["size_bytes"].to_pylist()),
    }


def _draw_pictures(shards: Mapping[str, ShardSet], labels: LabelStatistics, count: int, folder: Path) -> None:
    rows = [
        {**row, "path": shard_set.folder / row["shard"]}
        for _, shard_set in sorted(shards.items())
        for row in packing.read_shard_index(shard_set.folder).to_pylist()
    ]
    faces = []
    for row in spread(rows, lambda row: row["identity"], count):
        members = read_members(row["path"], Place(row["offset_bytes"], row["size_bytes"]))
        faces.append(clip_face(decode_clip(row["key"], members)))
    title = f"Samples: {len(faces)} of {len(rows)}"
    panels = [dataset_card.panel_of_distribution(each) for each in labels.distributions.values()]
    (folder / dataset_card.PICTURES).mkdir(exist_ok=True)
    (folder / dataset_card.SAMPLES_PICTURE).write_bytes(draw_faces(title, faces))
    picture = draw_histograms("Labels and scores of all samples", panels)
    (folder / dataset_card.DISTRIBUTIONS_PICTURE).write_bytes(picture)
