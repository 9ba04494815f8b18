"""The step `dataset`: the shards of all batches become one data set.

Writes `index.parquet` (a row for each sample), `shards.parquet` (each shard), `splits.parquet` (each main
identity), `near_duplicates.parquet` (pairs of videos with the same recording), `batch_labels/` (what each
batch's labels contain), `statistics.json`, `dataset_card.md` and the card's pictures.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field
from upath import UPath

from preprocessing.archive import Place, read_members
from preprocessing.audio import sound_landmarks
from preprocessing.audio.sound_landmarks import LANDMARKS_TABLE
from preprocessing.dataset import card as dataset_card
from preprocessing.dataset.batch_labels import (
    BatchLabels,
    anchors_across,
    labelled_samples,
    labels_of_batches,
    read_batch_labels,
)
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
from preprocessing.dataset.near_duplicates import (
    NEAR_DUPLICATES_SCHEMA,
    NEAR_DUPLICATES_TABLE,
    NearDuplicate,
    find_near_duplicates,
    named_copies,
    near_duplicates_table,
)
from preprocessing.dataset.splits import (
    SPLITS,
    Split,
    SplitSettings,
    assign_splits,
    merged_identities,
    named_split,
)
from preprocessing.dataset.statistics import LabelStatistics
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
from storage.root import local_copy, verified_copy
from storage.settings import Settings

CODE_VERSION: Final = f"7+schema{SCHEMA_VERSION}+landmarks{sound_landmarks.VERSION}"
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


@dataclass(frozen=True)
class PreviousDataset:
    """What a data set takes over from the one before it."""

    splits: Mapping[str, Split] = field(default_factory=dict[str, Split])  # by main identity
    labels: BatchLabels | None = None

    @classmethod
    def read(cls, folder: Path) -> "PreviousDataset":
        """Read it from the files of a data set."""
        return cls(read_splits(folder), read_batch_labels(folder))


def run_dataset(
    root: UPath,
    settings: DatasetSettings,
    *,
    force: bool = False,
    previous: PreviousDataset | None = None,
) -> Published:
    """Publish the data set over all batches that have shards, unless it is current.

    Identities keep the splits of the previous data set, or those given. Splits are not part of the recipe,
    because the same shards give the same splits.

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
    if previous is None:
        previous = (
            PreviousDataset() if before is None else PreviousDataset.read(verified_copy(before.directory))
        )
    inputs = {key: published.as_input() for key, published in batches.items()}
    if listed := listed_splits(root):
        inputs["listed_splits"] = Input(fingerprint(listed))

    def build(folder: Path) -> BuildReport:
        shards = {key: _shard_set(published) for key, published in batches.items()}
        return make_dataset(shards, previous, settings, folder, listed)

    return materialise(root, Recipe(DATASET, WHOLE, CODE_VERSION, settings, inputs), build, force=force)


def _shard_set(published: Published) -> ShardSet:
    digests = {name: record.sha256 for name, record in published.manifest.files.items()}
    return ShardSet(local_copy(published.directory), published.location, digests)


def make_dataset(
    shards: Mapping[str, ShardSet],
    before: PreviousDataset,
    settings: DatasetSettings,
    folder: Path,
    listed: Mapping[str, Split] | None = None,
) -> BuildReport:
    """Join the shards of batches.

    Args:
        shards: by batch.
        before: what the previous data set decided and knows.
        settings: of the step.
        folder: where to write.
        listed: identity -> the split that a list gives it; of people in one video, the one held out most.

    Raises:
        ValueError: a key is in two shards, a video has two main identities, samples have another schema
            version or different labellers, or a shard does not match its index.
    """
    landmarks = [shard_set.folder / LANDMARKS_TABLE for _, shard_set in sorted(shards.items())]
    # Shards of earlier versions have no landmarks.
    copies = find_near_duplicates([table for table in landmarks if table.exists()])
    one_person = merged_identities(settings.splits.one_person)
    index, shard_table = join_indices(shards, before.splits, _linked(copies, settings.splits), one_person)
    people = _people(index)
    given = _given_splits(people, listed or {}, settings.splits)
    mains = index["main_identity"].unique().to_pylist()
    splits = assign_splits(mains, before.splits, settings.splits, given)
    names = pa.array([splits[identity] for identity in index["main_identity"].to_pylist()], pa.string())
    index = index.append_column("split", names).select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA)
    labels = labels_of_batches(shards, before.labels)
    splits_of_people: dict[str, Split] = {person: splits[main] for person, main in people.items()}
    facts = _label_facts(labels, shards, splits_of_people, settings)
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
    labels.write(folder)
    pq.write_table(shard_table, folder / SHARDS_TABLE)
    pq.write_table(splits_table(splits, index), folder / SPLITS_TABLE)
    pq.write_table(near_duplicates_table(copies), folder / NEAR_DUPLICATES_TABLE)
    text = json.dumps(statistics, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / STATISTICS_NAME).write_text(text + "\n", "utf-8")
    card = dataset_card.write_card(statistics, settings.splits, named_copies(copies, index))
    (folder / CARD_NAME).write_text(card, "utf-8")
    _draw_pictures(index, shards, facts.labels, settings.pictured_samples, folder)
    samples = {f"samples_{split}": counts["samples"] for split, counts in by_split.items()}
    labelled = {
        f"{label} by {labeller}": count
        for label, by_labeller in facts.labellers.items()
        for labeller, count in by_labeller.items()
    }
    found: dict[str, int | float] = {"near_duplicates": len(copies)}
    return BuildReport(counts={**statistics["total"], **found, **samples, **labelled}, refusals={})


def _linked(copies: Sequence[NearDuplicate], settings: SplitSettings) -> list[tuple[str, str]]:
    """The videos that must share a split."""
    for each in copies:
        logger.warning(
            "Videos %s and %s hold the same recording for %.1f s, by %s",
            each.video_id,
            each.other_video_id,
            each.seconds,
            each.found_by,
        )
    return [(each.video_id, each.other_video_id) for each in copies] if settings.join_near_duplicates else []


def _people(index: pa.Table) -> dict[str, str]:
    """Main identity of each video -> the one that people of its videos share."""
    columns = (index[name].to_pylist() for name in ("identity", "key", "main_identity"))
    return {main_identity(identity, key): main for identity, key, main in zip(*columns, strict=True)}


def _given_splits(
    people: Mapping[str, str], listed: Mapping[str, Split], settings: SplitSettings
) -> dict[str, Split]:
    """Main identity -> the split that lists and patterns give it and its people: the one held out most."""
    given: dict[str, Split] = {}
    for person, main in people.items():
        if (split := listed.get(person) or named_split(person, settings)) is not None:
            given[main] = SPLITS[max(SPLITS.index(given.get(main, split)), SPLITS.index(split))]
    return given


def check_dataset(folder: Path) -> list[str]:
    """Inconsistencies of a data set, a line each; [] if there is none."""
    problems = index_problems(folder) + _parted_near_duplicates(folder)
    statistics = json.loads((folder / STATISTICS_NAME).read_text("utf-8"))
    stated, indexed = statistics["total"]["samples"], read_dataset_index(folder).num_rows
    if stated != indexed:
        problems.append(f"{STATISTICS_NAME} states {stated} samples, {INDEX_TABLE} has {indexed}")
    return problems


def _parted_near_duplicates(folder: Path) -> list[str]:
    index = read_dataset_index(folder)
    splits = dict(zip(index["video_id"].to_pylist(), index["split"].to_pylist(), strict=True))
    rows = pq.read_table(folder / NEAR_DUPLICATES_TABLE, schema=NEAR_DUPLICATES_SCHEMA).to_pylist()
    pairs = [(row["video_id"], row["other_video_id"]) for row in rows]
    return [
        f"videos {one} and {other} hold the same recording, and are in {splits[one]} and {splits[other]}"
        for one, other in pairs
        if one in splits and other in splits and splits[one] != splits[other]
    ]


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


def _label_facts(
    labels: BatchLabels,
    shards: Mapping[str, ShardSet],
    splits: Mapping[str, Split],
    settings: DatasetSettings,
) -> _LabelFacts:
    locations = {batch: shard_set.location for batch, shard_set in shards.items()}
    labellers = _by_labeller(labelled_samples(labels, locations))
    if not settings.allow_mixed_labellers:
        _refuse_mixed(labellers)
    counts = {
        label: {name: samples.count for name, samples in by_labeller.items()}
        for label, by_labeller in labellers.items()
    }
    return _LabelFacts(labels.statistics(), counts, anchors_across(labels, splits))


def _by_labeller(
    samples: Sequence[tuple[Mapping[str, str], int, str]],
) -> dict[str, dict[str, _LabelledSamples]]:
    """Label -> labeller -> its samples, sorted by name. Argument: as `labelled_samples` returns them."""
    labels = sorted({label for labellers, _, _ in samples for label in labellers})
    labelled: dict[str, dict[str, _LabelledSamples]] = {label: {} for label in labels}
    for labellers, count, shard in samples:
        for label in labels:
            labeller = labellers.get(label, BUILT_IN)
            before = labelled[label].get(labeller, _LabelledSamples(0, shard))
            labelled[label][labeller] = _LabelledSamples(before.count + count, min(before.shard, shard))
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
        "batches": len(shards["batch"].unique()),
        "shards": shards.num_rows,
        "bytes": sum(shards["size_bytes"].to_pylist()),
    }


def _draw_pictures(
    index: pa.Table, shards: Mapping[str, ShardSet], labels: LabelStatistics, count: int, folder: Path
) -> None:
    identities = index["identity"].to_pylist()
    chosen = spread(range(index.num_rows), lambda row: identities[row], count)
    faces = []
    for row in index.take(pa.array(chosen, pa.int64())).to_pylist():
        folder_of_shards, name = shards[row["batch"]].folder, row["shard"].rpartition("/")[2]
        members = read_members(folder_of_shards / name, Place(row["offset_bytes"], row["size_bytes"]))
        faces.append(clip_face(decode_clip(row["key"], members)))
    title = f"Samples: {len(faces)} of {index.num_rows}"
    panels = [dataset_card.panel_of_distribution(each) for each in labels.distributions.values()]
    (folder / dataset_card.PICTURES).mkdir(exist_ok=True)
    (folder / dataset_card.SAMPLES_PICTURE).write_bytes(draw_faces(title, faces))
    picture = draw_histograms("Labels and scores of all samples", panels)
    (folder / dataset_card.DISTRIBUTIONS_PICTURE).write_bytes(picture)
