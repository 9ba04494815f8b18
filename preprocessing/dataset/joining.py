"""The step `dataset`: the shards of all batches become one data set.

Writes `index.parquet` (a row a sample), `shards.parquet` (a row a shard), `splits.parquet` (a row a
main identity), `statistics.json`, `dataset_card.md` and the card's pictures. Shards stay where they
are; the index names them relative to the root.

A split must not share a voice or a background with another. A face beside the main one is an
identity of its own ("NAME face 3", see `preprocessing.clips.selection`) in the main one's video, so the split
is given by the *main identity*, NAME, and no video may have two of them.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from preprocessing.archive import Place, read_members
from preprocessing.dataset import card as dataset_card
from preprocessing.dataset import packing as training_shards
from preprocessing.dataset.splits import SPLITS, Split, SplitSettings, assign_splits
from preprocessing.dataset.statistics import LabelStatistics, SampleLabels, read_labels_at
from preprocessing.pictures.drawing import spread
from preprocessing.pictures.histograms import draw_histograms
from preprocessing.pictures.mesh_sheet import clip_face, draw_faces
from preprocessing.schema import FRAMES_PER_SECOND, SCHEMA_VERSION
from preprocessing.shards import decode_clip
from preprocessing.table_schema import column, table_schema
from storage.publishing import BuildReport
from storage.settings import Settings

CODE_VERSION: Final = f"2+schema{SCHEMA_VERSION}"
INDEX_TABLE: Final = "index.parquet"
SHARDS_TABLE: Final = "shards.parquet"
SPLITS_TABLE: Final = "splits.parquet"
STATISTICS_NAME: Final = "statistics.json"
CARD_NAME: Final = "dataset_card.md"
INDEX_SCHEMA: Final = table_schema(
    column("key", pa.string(), "sample's key"),
    column("identity", pa.string(), "who is seen"),
    column("main_identity", pa.string(), "main identity of the video, by which the split is given"),
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("split", pa.string(), "train, validation or test"),
    column("frames", pa.int32(), "number of frames"),
    column("anchors", pa.int32(), "number of eye anchors"),
    column("batch", pa.string(), "batch that the sample was made in"),
    column("shard", pa.string(), "file that holds the sample, relative to the root"),
    column("offset_bytes", pa.int64(), "where the sample begins in the shard"),
    column("size_bytes", pa.int64(), "bytes of the sample in the shard"),
)
SHARDS_SCHEMA: Final = table_schema(
    column("shard", pa.string(), "file, relative to the root"),
    column("batch", pa.string(), "batch that it was made of"),
    column("samples", pa.int64(), "number of samples"),
    column("size_bytes", pa.int64(), "size of the file"),
    column("sha256", pa.string(), "of the file, 64 hex digits"),
)
SPLITS_SCHEMA: Final = table_schema(
    column("main_identity", pa.string(), "faces beside it in its videos go with it"),
    column("split", pa.string(), "train, validation or test"),
    column("samples", pa.int64(), "number of samples; 0 where the identity is gone from the data"),
)
BUILT_IN: Final = "built in"
"""The labeller of a label that other samples name one for: the default detector is named in none."""
_TRACK_OF_KEY: Final = re.compile(r"-t(\d+)-f\d+")


class DatasetSettings(Settings):
    """How the data set is put together."""

    splits: SplitSettings = SplitSettings()
    allow_mixed_labellers: bool = Field(
        default=False,
        description="Join batches labelled by different labellers, whose labels are not comparable",
    )
    pictured_samples: int = Field(default=15, ge=0, le=100, description="Samples shown on the dataset card")


@dataclass(frozen=True)
class ShardSet:
    """The published shards of one batch."""

    folder: Path  # local copy of what the step `shards` wrote
    location: str  # of the published folder, relative to the root, forward slashes
    sha256: Mapping[str, str]  # shard's file name -> from the manifest


def make_dataset(
    shards: Mapping[str, ShardSet],
    splits_before: Mapping[str, Split],
    settings: DatasetSettings,
    folder: Path,
) -> BuildReport:
    """Put the batches' shards together.

    Args:
        shards: by batch.
        splits_before: main identity -> split, of the data set before (`read_splits`); {} at first.
        settings: splits, and what may be mixed.
        folder: where to write.

    Raises:
        ValueError: a key lies in two shards, a video has two main identities, samples are of another
            schema version or of different labellers, or a shard is not what its index says.
    """
    index, shard_table = _join_indices(shards)
    _refuse_duplicates(index)
    _refuse_shared_videos(index)
    splits = assign_splits(index["main_identity"].to_pylist(), splits_before, settings.splits)
    names = pa.array([splits[identity] for identity in index["main_identity"].to_pylist()], pa.string())
    index = index.append_column("split", names).select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA)
    facts = _read_labels(shards, splits, settings)
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
    pq.write_table(_splits_table(splits, index), folder / SPLITS_TABLE)
    text = json.dumps(statistics, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / STATISTICS_NAME).write_text(text + "\n", "utf-8")
    (folder / CARD_NAME).write_text(dataset_card.write_card(statistics, settings.splits), "utf-8")
    _draw_pictures(shards, facts.labels, settings.pictured_samples, folder)
    samples = {f"samples_{split}": counts["samples"] for split, counts in by_split.items()}
    labelled = {
        f"{label} by {labeller}": count
        for label, found in facts.labellers.items()
        for labeller, count in found.items()
    }
    return BuildReport(counts={**statistics["total"], **samples, **labelled}, refusals={})


def main_identity(identity: str, key: str) -> str:
    """The main identity of the video that a sample comes from.

    A face beside the main one is named "NAME face N" by `preprocessing.clips.selection`, N being the face
    track that the key names too. Who is really called so is grouped with NAME, which harms nobody.
    """
    track = _TRACK_OF_KEY.search(key)
    if track is None:
        return identity
    return identity.removesuffix(f" face {int(track[1])}") or identity


def read_dataset_index(folder: Path) -> pa.Table:
    """The samples of a data set, by batch and key."""
    return pq.read_table(folder / INDEX_TABLE, schema=INDEX_SCHEMA)


def read_splits(folder: Path) -> dict[str, Split]:
    """Main identity -> split of a data set: the `splits_before` of the next one."""
    table = pq.read_table(folder / SPLITS_TABLE, schema=SPLITS_SCHEMA)
    return dict(zip(table["main_identity"].to_pylist(), table["split"].to_pylist(), strict=True))


def check_dataset(folder: Path) -> list[str]:
    """What is wrong with a data set, a line each; [] where nothing is."""
    index, splits = read_dataset_index(folder), read_splits(folder)
    problems = [
        f"{name} {value!r} is in splits {', '.join(found)}"
        for name in ("identity", "main_identity", "video_id")
        for value, found in _values_in_two_splits(index, name)
    ]
    counted = index.group_by("key").aggregate([([], "count_all")]).filter(pc.field("count_all") > 1)
    problems += [f"sample {key} is there more than once" for key in sorted(counted["key"].to_pylist())]
    given = zip(index["main_identity"].to_pylist(), index["split"].to_pylist(), strict=True)
    problems += [
        f"main_identity {name!r} is in {split}, but {SPLITS_TABLE} says {splits.get(name)}"
        for name, split in sorted(set(given))
        if splits.get(name) != split
    ]
    statistics = json.loads((folder / STATISTICS_NAME).read_text("utf-8"))
    told = statistics["total"]["samples"]
    if told != index.num_rows:
        problems.append(f"{STATISTICS_NAME} tells of {told} samples, {INDEX_TABLE} holds {index.num_rows}")
    return problems


def _join_indices(shards: Mapping[str, ShardSet]) -> tuple[pa.Table, pa.Table]:
    """All samples, without their split yet, and all shards."""
    indices = [pa.Table.from_pylist([], schema=INDEX_SCHEMA).drop_columns(["split"])]
    rows: list[dict[str, Any]] = []
    for batch, shard_set in sorted(shards.items()):
        index = training_shards.read_index(shard_set.folder)
        location = shard_set.location.rstrip("/")
        for facts in index.group_by("shard").aggregate([([], "count_all")]).sort_by("shard").to_pylist():
            name = facts["shard"]
            if name not in shard_set.sha256:
                raise ValueError(
                    f"batch {batch}: shard {name} has no sha256; known: {sorted(shard_set.sha256)}"
                )
            rows.append(
                {
                    "shard": f"{location}/{name}",
                    "batch": batch,
                    "samples": facts["count_all"],
                    "size_bytes": (shard_set.folder / name).stat().st_size,
                    "sha256": shard_set.sha256[name],
                }
            )
        named = zip(index["identity"].to_pylist(), index["key"].to_pylist(), strict=True)
        columns = {
            **{name: index[name] for name in index.column_names},
            "shard": pa.array([f"{location}/{name}" for name in index["shard"].to_pylist()], pa.string()),
            "batch": pa.array([batch] * index.num_rows, pa.string()),
            "main_identity": pa.array([main_identity(*pair) for pair in named], pa.string()),
        }
        indices.append(pa.table(columns).select(indices[0].column_names).cast(indices[0].schema))
    return pa.concat_tables(indices), pa.Table.from_pylist(rows, schema=SHARDS_SCHEMA)


def _refuse_duplicates(index: pa.Table) -> None:
    seen: dict[str, str] = {}
    for key, shard in zip(index["key"].to_pylist(), index["shard"].to_pylist(), strict=True):
        if key in seen:
            raise ValueError(f"sample {key} lies in {seen[key]} and in {shard}: a video is in two batches")
        seen[key] = shard


def _refuse_shared_videos(index: pa.Table) -> None:
    owners: dict[str, tuple[str, str]] = {}
    names = ("video_id", "main_identity", "batch")
    for video, identity, batch in zip(*(index[name].to_pylist() for name in names), strict=True):
        owner, first_batch = owners.setdefault(video, (identity, batch))
        if owner != identity:
            raise ValueError(
                f"video {video} shows {owner!r} in batch {first_batch} and {identity!r} in batch {batch}: "
                "it could come into two splits; make the clips of both batches again"
            )


@dataclass(frozen=True)
class _Labelled:
    """What one labeller labelled."""

    samples: int
    shard: str  # the first that holds any of them


@dataclass(frozen=True)
class _LabelFacts:
    """What the samples' labels say together."""

    labels: LabelStatistics
    labellers: dict[str, dict[str, int]]  # label -> who made it -> of how many samples
    anchors_across_splits: dict[Split, int]  # by the sample's split: the eyes are of another


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
        label: {name: made.samples for name, made in found.items()} for label, found in labellers.items()
    }
    return _LabelFacts(statistics, counts, across)


def _by_labeller(
    samples: Mapping[tuple[tuple[str, str], ...], Sequence[str]],
) -> dict[str, dict[str, _Labelled]]:
    """Label -> labeller -> what it labelled, names sorted.

    Args:
        samples: (label, labeller) pairs that samples tell -> the shard of each such sample.
    """
    labels = sorted({label for told in samples for label, _ in told})
    found: dict[str, dict[str, _Labelled]] = {label: {} for label in labels}
    for told, shards in sorted(samples.items()):
        for label in labels:
            labeller = dict(told).get(label, BUILT_IN)
            before = found[label].get(labeller, _Labelled(0, shards[0]))
            found[label][labeller] = _Labelled(before.samples + len(shards), min(before.shard, shards[0]))
    return {label: dict(sorted(made.items())) for label, made in found.items()}


def _refuse_mixed(labellers: Mapping[str, Mapping[str, _Labelled]]) -> None:
    told = "; ".join(
        f"{label} by "
        + " and by ".join(
            f"{name!r} in {made.shard} (samples: {made.samples:,})" for name, made in found.items()
        )
        for label, found in labellers.items()
        if len(found) > 1
    )
    if told:
        raise ValueError(f"labellers differ: {told}: make the labels again, or set allow_mixed_labellers")


def _samples(shards: Mapping[str, ShardSet]) -> Iterator[tuple[str, dict[str, Any], SampleLabels]]:
    """Of every sample its shard, its row of the shards' index, its labels; one shard open at a time."""
    for _, shard_set in sorted(shards.items()):
        index = training_shards.read_index(shard_set.folder)
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
            f"{location}: sample {row['key']} is of schema version {labels.schema_version}, this code reads "
            f"{SCHEMA_VERSION}: make the shards again"
        )
    if len(labels.pose) != row["frames"]:
        raise ValueError(
            f"{location}: sample {row['key']} has {len(labels.pose)} frames, its index says {row['frames']}"
        )


def _counts(index: pa.Table) -> dict[str, int | float]:
    (found,) = (
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
    frames = found["frames_sum"] or 0
    return {
        "samples": index.num_rows,
        "frames": frames,
        "hours": round(frames / FRAMES_PER_SECOND / 3600, 6),
        "identities": found["identity_count_distinct"],
        "videos": found["video_id_count_distinct"],
        "anchors": found["anchors_sum"] or 0,
    }


def _shard_counts(shards: pa.Table) -> dict[str, int | float]:
    return {
        "batches": len(set(shards["batch"].to_pylist())),
        "shards": shards.num_rows,
        "bytes": sum(shards["size_bytes"].to_pylist()),
    }


def _splits_table(splits: Mapping[str, Split], index: pa.Table) -> pa.Table:
    counted = index.group_by("main_identity").aggregate([([], "count_all")])
    samples = dict(zip(counted["main_identity"].to_pylist(), counted["count_all"].to_pylist(), strict=True))
    rows = [
        {"main_identity": identity, "split": splits[identity], "samples": samples.get(identity, 0)}
        for identity in sorted(splits)
    ]
    return pa.Table.from_pylist(rows, schema=SPLITS_SCHEMA)


def _values_in_two_splits(index: pa.Table, name: str) -> list[tuple[str, Sequence[str]]]:
    found = index.group_by(name).aggregate([("split", "distinct")])
    return sorted(
        (row[name], sorted(row["split_distinct"]))
        for row in found.to_pylist()
        if len(row["split_distinct"]) > 1
    )


def _draw_pictures(shards: Mapping[str, ShardSet], labels: LabelStatistics, count: int, folder: Path) -> None:
    rows = [
        {**row, "path": shard_set.folder / row["shard"]}
        for _, shard_set in sorted(shards.items())
        for row in training_shards.read_index(shard_set.folder).to_pylist()
    ]
    faces = []
    for row in spread(rows, lambda row: row["identity"], count):
        members = read_members(row["path"], Place(row["offset_bytes"], row["size_bytes"]))
        faces.append(clip_face(decode_clip(row["key"], members)))
    title = f"Samples: {len(faces)} of {len(rows)}"
    panels = [dataset_card.panel_of_distribution(found) for found in labels.distributions.values()]
    (folder / dataset_card.PICTURES).mkdir(exist_ok=True)
    (folder / dataset_card.SAMPLES_PICTURE).write_bytes(draw_faces(title, faces))
    picture = draw_histograms("Labels and scores of all samples", panels)
    (folder / dataset_card.DISTRIBUTIONS_PICTURE).write_bytes(picture)
