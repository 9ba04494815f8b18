"""The tables of a data set: `index.parquet`, `shards.parquet` and `splits.parquet`.

Shards stay where they are; the index names them relative to the root.

No voice or background may occur in two splits. A secondary face is an identity of its own ("NAME face 3", see
`preprocessing.clips.selection`) in the video of the main one, so a split is assigned to the *main identity*,
NAME, and no video may have two of them.
"""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from preprocessing.dataset import packing
from preprocessing.dataset.splits import Split
from preprocessing.schema import INDEX_TABLE
from preprocessing.table_schema import column, table_schema
from storage.fingerprint import fingerprint
from storage.manifest import Input
from storage.publishing import Published, current, read_build
from storage.root import verified_copy

DATASET: Final = "dataset"
WHOLE: Final = "whole"  # the partition of assets over all batches
SHARDS_TABLE: Final = "shards.parquet"
SPLITS_TABLE: Final = "splits.parquet"
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
_TRACK_OF_KEY: Final = re.compile(r"-t(\d+)-f\d+")


@dataclass(frozen=True)
class ShardSet:
    """The published shards of one batch."""

    folder: Path  # local copy of the files of the step `shards`
    location: str  # of the published folder, relative to the root, forward slashes
    sha256: Mapping[str, str]  # by the file's name

    @property
    def digest(self) -> str:
        """Of the names and bytes of all files."""
        return fingerprint(dict(self.sha256))


def main_identity(identity: str, key: str) -> str:
    """The main identity of the video of a sample.

    `preprocessing.clips.selection` names a secondary face "NAME face N", where N is the face track in the
    key. An identity that is really called so is grouped with NAME, which does no harm.
    """
    track = _TRACK_OF_KEY.search(key)
    if track is None:
        return identity
    return identity.removesuffix(f" face {int(track[1])}") or identity


def read_dataset_index(folder: Path) -> pa.Table:
    """The samples of a data set, by batch and key."""
    return pq.read_table(folder / INDEX_TABLE, schema=INDEX_SCHEMA)


def read_splits(folder: Path) -> dict[str, Split]:
    """Main identity -> split of a data set."""
    table = pq.read_table(folder / SPLITS_TABLE, schema=SPLITS_SCHEMA)
    return dict(zip(table["main_identity"].to_pylist(), table["split"].to_pylist(), strict=True))


def join_indices(
    shards: Mapping[str, ShardSet],
    known: Container[str] = (),
    copies: Sequence[tuple[str, str]] = (),
    one_person: Sequence[Sequence[str]] = (),
) -> tuple[pa.Table, pa.Table]:
    """The samples of all batches, without their split, and all shards.

    Args:
        shards: by batch.
        known: main identities of the previous data set, which stay main identities where they can.
        copies: videos of the same recording, whose people share a main identity.
        one_person: identities that are the same person, who share one too.

    Raises:
        ValueError: a key is in two shards, a video has two main identities, or a shard is not in its
            manifest.
    """
    indices = [pa.Table.from_pylist([], schema=INDEX_SCHEMA).drop_columns(["split"])]
    rows: list[dict[str, Any]] = []
    for batch, shard_set in sorted(shards.items()):
        index = packing.read_shard_index(shard_set.folder)
        location = shard_set.location.rstrip("/")
        for facts in index.group_by("shard").aggregate([([], "count_all")]).sort_by("shard").to_pylist():
            name = facts["shard"]
            if name not in shard_set.sha256:
                raise ValueError(
                    f"batch {batch}: the manifest has no shard {name}, only {sorted(shard_set.sha256)}"
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
    joined = pa.concat_tables(indices)
    _refuse_duplicates(joined)
    _refuse_shared_videos(joined)
    return _join_people(joined, known, copies, one_person), pa.Table.from_pylist(rows, schema=SHARDS_SCHEMA)


def _refuse_duplicates(index: pa.Table) -> None:
    if len(index["key"].unique()) == index.num_rows:
        return
    seen: dict[str, str] = {}
    for key, shard in zip(index["key"].to_pylist(), index["shard"].to_pylist(), strict=True):
        if key in seen:
            raise ValueError(f"sample {key} is in {seen[key]} and in {shard}: a video is in two batches")
        seen[key] = shard


def _refuse_shared_videos(index: pa.Table) -> None:
    names = ["video_id", "main_identity", "batch"]
    owners: dict[str, tuple[str, str]] = {}
    for row in index.group_by(names, use_threads=False).aggregate([]).to_pylist():
        video, identity, batch = (row[name] for name in names)
        owner, first_batch = owners.setdefault(video, (identity, batch))
        if owner != identity and first_batch != batch:
            raise ValueError(
                f"video {video} has main identity {owner!r} in batch {first_batch} and {identity!r} in batch "
                f"{batch}, and could be in two splits; build the clips of both batches again"
            )


def _join_people(
    index: pa.Table,
    known: Container[str],
    copies: Sequence[tuple[str, str]],
    one_person: Sequence[Sequence[str]],
) -> pa.Table:
    """Give people of one video, or of copies of it, the same main identity, so that they share a split.

    It is one that is known, else the first by name; who shares videos with several others joins all of them.
    """
    parents: dict[str, str] = {}

    def first_of(identity: str) -> str:
        while (parent := parents.setdefault(identity, identity)) != identity:
            identity = parent
        return identity

    def join(one: str, other: str) -> None:
        both = (first_of(one), first_of(other))
        first, second = sorted(both, key=lambda identity: (identity not in known, identity))
        parents[second] = first

    pairs = index.group_by(["video_id", "main_identity"]).aggregate([]).to_pylist()
    owner_of: dict[str, str] = {}
    for pair in sorted(pairs, key=lambda pair: (pair["video_id"], pair["main_identity"])):
        join(owner_of.setdefault(pair["video_id"], pair["main_identity"]), pair["main_identity"])
    for video, copy in copies:
        if video in owner_of and copy in owner_of:
            join(owner_of[video], owner_of[copy])
    present = set(index["main_identity"].to_pylist())
    for names in one_person:
        found = [name for name in names if name in present]
        for name in found[1:]:
            join(found[0], name)
    names = [first_of(identity) for identity in index["main_identity"].to_pylist()]
    place = index.schema.get_field_index("main_identity")
    return index.set_column(place, index.schema.field(place), pa.array(names, pa.string()))


def splits_table(splits: Mapping[str, Split], index: pa.Table) -> pa.Table:
    """A row for each main identity that has a split, with its number of samples."""
    counted = index.group_by("main_identity").aggregate([([], "count_all")])
    samples = dict(zip(counted["main_identity"].to_pylist(), counted["count_all"].to_pylist(), strict=True))
    rows = [
        {"main_identity": identity, "split": splits[identity], "samples": samples.get(identity, 0)}
        for identity in sorted(splits)
    ]
    return pa.Table.from_pylist(rows, schema=SPLITS_SCHEMA)


def index_problems(folder: Path) -> list[str]:
    """Inconsistencies of a data set's tables, a line each."""
    index, splits = read_dataset_index(folder), read_splits(folder)
    problems = [
        f"{name} {value!r} is in splits {', '.join(in_splits)}"
        for name in ("identity", "main_identity", "video_id")
        for value, in_splits in _values_in_two_splits(index, name)
    ]
    counted = index.group_by("key").aggregate([([], "count_all")]).filter(pc.field("count_all") > 1)
    problems += [f"sample {key} occurs more than once" for key in sorted(counted["key"].to_pylist())]
    assigned = zip(index["main_identity"].to_pylist(), index["split"].to_pylist(), strict=True)
    return problems + [
        f"main_identity {name!r} is in {split}, but in {splits.get(name)} in {SPLITS_TABLE}"
        for name, split in sorted(set(assigned))
        if splits.get(name) != split
    ]


def _values_in_two_splits(index: pa.Table, name: str) -> list[tuple[str, Sequence[str]]]:
    grouped = index.group_by(name).aggregate([("split", "distinct")])
    return sorted(
        (row[name], sorted(row["split_distinct"]))
        for row in grouped.to_pylist()
        if len(row["split_distinct"]) > 1
    )


def changed_share(root: UPath, since: Input) -> float:
    """The share of samples that the current data set and an earlier one do not have in common.

    A sample in both counts as changed if its shard's bytes changed.

    Args:
        root: from `open_root`.
        since: the earlier data set, as an input of what was built from it.

    Returns:
        0 (equal) to 1 (nothing in common, or the earlier data set was removed).

    Raises:
        ValueError: there is no data set.
    """
    now = current(root, DATASET, WHOLE)
    if now is None:
        raise ValueError(f"no data set under {root}: materialize `dataset` first")
    if now.manifest.content_digest == since.digest:
        return 0.0
    before = read_build(root, since.location)
    if before is None:
        return 1.0
    new, old = _shard_digests(now), _shard_digests(before)
    same = sum(old.get(key) == shard for key, shard in new.items())
    return 1.0 - same / max(1, len(new.keys() | old.keys()))


def _shard_digests(published: Published) -> Mapping[str, str]:
    """Sample's key -> sha256 of its shard."""
    folder = verified_copy(published.directory)
    shards = pq.read_table(folder / SHARDS_TABLE)
    digests = dict(zip(shards["shard"].to_pylist(), shards["sha256"].to_pylist(), strict=True))
    index = read_dataset_index(folder)
    shard_of = zip(index["key"].to_pylist(), index["shard"].to_pylist(), strict=True)
    return {key: digests[shard] for key, shard in shard_of}
