"""The clips of one split of a published data set, as arrays.

Reads the index itself, with pyarrow: importing `preprocessing.dataset.joining` would bring the labellers
into every worker.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray
from upath import UPath

from preprocessing.schema import (
    INDEX_TABLE,
    KEY_PATTERN,
    MAXIMUM_CLIP_FRAMES,
    SCHEMA_VERSION,
    STATISTICS_NAME,
)
from storage.objects import is_local
from storage.publishing import current
from storage.root import local_copy, scratch_directory, verified_copy
from storage.tar_header import TAR_BLOCK_BYTES
from training.data.remote_shards import RemoteShards, find_remote_shards

Split = Literal["train", "validation", "test", "held_out_clips"]
"""People of a split share no clip. `held_out_clips` exists only in a data set without held-out people."""
HELD_OUT_SHARE: Final = 5
"""Of such a data set, one clip in five of each person is held out, the last ones; at least one."""
FEWEST_CLIPS: Final = 3  # of a person, for one to be held out
FEATURES_FOLDER: Final = "frame_features"  # of the scratch directory
_TYPES: Final = {
    "key": pa.string(),
    "identity": pa.string(),
    "main_identity": pa.string(),
    "video_id": pa.string(),
    "split": pa.string(),
    "frames": pa.int32(),
    "anchors": pa.int32(),
    "shard": pa.string(),
    "offset_bytes": pa.int64(),
    "size_bytes": pa.int64(),
}
_COLUMNS: Final = tuple(_TYPES)
_LARGEST_PLACE: Final = 2**62


pc: Any = pyarrow.compute  # its functions are made at run time, without types


class NoSamplesError(ValueError):
    """A split has no samples of the requested kind."""


@dataclass(frozen=True)
class ClipIndex:
    """C clips of one split. Arrays, because forked workers would copy lists of objects."""

    split: Split
    key_column: pa.StringArray  # C
    identity_column: pa.StringArray  # C
    video_column: pa.StringArray  # C, the source video of each
    shard_paths: tuple[Path, ...]  # of the shards of this split
    shard_names: tuple[str, ...]  # the same, relative to the root
    shards: NDArray[np.int64]  # [C] index in `shard_paths`
    offsets_bytes: NDArray[np.int64]  # [C]
    sizes_bytes: NDArray[np.int64]  # [C]
    frame_counts: NDArray[np.int64]  # [C]
    anchor_counts: NDArray[np.int64]  # [C]
    split_of_identity: Mapping[str, Split]  # of all splits, including faces beside the main one
    features_folder: Path | None = None  # keeps features of frozen trunks from one stage to the next
    remote: RemoteShards | None = None  # where the shards are in a bucket; then nothing is at `shard_paths`

    @property
    def people(self) -> Split:
        """The split of the clips' people: held-out clips show people of the training clips."""
        return "train" if self.split == "held_out_clips" else self.split

    @property
    def training_identities(self) -> tuple[str, ...]:
        """The people of the training split, sorted; the same in the index of every split."""
        return tuple(sorted(name for name, split in self.split_of_identity.items() if split == "train"))

    def identity_numbers(self) -> NDArray[np.int64]:
        """[C] the number of each clip's identity in `training_identities`; -1 for another split's."""
        numbers = {name: number for number, name in enumerate(self.training_identities)}
        encoded = self.identity_column.dictionary_encode()
        names = [numbers.get(name, -1) for name in encoded.dictionary.to_pylist()]
        return np.array(names, np.int64)[encoded.indices.to_numpy()]

    def __len__(self) -> int:
        return len(self.shards)

    def key(self, clip: int) -> str:
        """Key of a clip."""
        return str(self.key_column[clip].as_py())

    def local_shard(self, clip: int) -> Path:
        """The shard of a clip; if it is in a bucket, a local file with this clip's bytes in it."""
        shard = int(self.shards[clip])
        if self.remote is not None:
            copy = self.remote.open(shard)
            copy.require(int(self.offsets_bytes[clip]), int(self.sizes_bytes[clip]))
            copy.close()
        return self.shard_paths[shard]

    def identity(self, clip: int) -> str:
        """Identity of a clip."""
        return str(self.identity_column[clip].as_py())


def open_current(root: UPath, split: Split) -> ClipIndex:
    """A split of the current data set under a root.

    Data set and shards are verified, once on each machine. Shards of a bucket stay there: samples are fetched
    when they are read (`training.data.remote_shards`), and their blocks' checksums are compared.

    Raises:
        ValueError: no data set is published there, it or a shard is damaged, or `read_clip_index` rejects it.
    """
    published = current(root, "dataset", "whole")
    if published is None:
        raise ValueError(f"no data set is published under {root}: run the pipeline up to `dataset` first")
    folder = verified_copy(published.directory)
    names = sorted(set(_read_table(folder / INDEX_TABLE, ["shard"])["shard"].to_pylist()))
    check_shard_names(folder / INDEX_TABLE, names)
    features_folder = scratch_directory(root) / FEATURES_FOLDER
    if not is_local(root):
        index = read_clip_index(folder, {name: Path(name) for name in names}, split)
        remote = find_remote_shards(root, index.shard_names)
        paths = tuple(remote.cache.data_path(record.sha256) for record in remote.records)
        return dataclasses.replace(index, shard_paths=paths, remote=remote, features_folder=features_folder)
    folders = {name.rpartition("/")[0] for name in names}
    published_shards = {value.location for value in published.manifest.inputs.values()}
    copies = {
        name: verified_copy(root / name) if name in published_shards else local_copy(root / name)
        for name in sorted(folders)
    }
    files = {name: copies[name.rpartition("/")[0]] / Path(name).name for name in names}
    index = read_clip_index(folder, files, split)
    return dataclasses.replace(index, features_folder=features_folder)


def read_clip_index(folder: Path, shard_files: Path | Mapping[str, Path], split: Split) -> ClipIndex:
    """The clips of a split, in the index's order.

    Args:
        folder: of the data set (`index.parquet`, `statistics.json`).
        shard_files: the root as a local folder, or the path of each shard of the index.
        split: of which to read the clips.

    Raises:
        ValueError: the data set is of another schema version, has no clip in the split, an identity in two
            splits, or an entry that violates the schema: clips twice, places and names that cannot be.
    """
    version = _schema_version(folder / STATISTICS_NAME)
    if version != SCHEMA_VERSION:
        raise ValueError(f"{folder}: data set of schema version {version}, this code reads {SCHEMA_VERSION}")
    table = _read_table(folder / INDEX_TABLE, _COLUMNS)
    _check_entries(folder / INDEX_TABLE, table)
    splits = _splits_of_identities(table)
    clips = table.filter(pa.array([name == split for name in _splits_of_clips(table)], pa.bool_()))
    if not clips.num_rows:
        raise NoSamplesError(f"{folder}: no clip in split {split}; the data set has {table.num_rows} clips")
    names = sorted(set(clips["shard"].to_pylist()))
    numbers = {name: number for number, name in enumerate(names)}
    paths = [shard_files / name if isinstance(shard_files, Path) else shard_files[name] for name in names]
    return ClipIndex(
        split=split,
        key_column=clips["key"].combine_chunks(),
        identity_column=clips["identity"].combine_chunks(),
        video_column=clips["video_id"].combine_chunks(),
        shard_paths=tuple(paths),
        shard_names=tuple(names),
        shards=np.array([numbers[name] for name in clips["shard"].to_pylist()], np.int64),
        offsets_bytes=_integers(clips, "offset_bytes"),
        sizes_bytes=_integers(clips, "size_bytes"),
        frame_counts=_integers(clips, "frames"),
        anchor_counts=_integers(clips, "anchors"),
        split_of_identity=splits,
    )


def count_held_out_clips(root: UPath) -> int:
    """Clips that training leaves out of the current data set because no person is held out; 0 without one."""
    published = current(root, "dataset", "whole")
    if published is None:
        return 0
    table = _read_table(verified_copy(published.directory) / INDEX_TABLE, ["key", "identity", "split"])
    return _splits_of_clips(table).count("held_out_clips")


def _read_table(path: Path, columns: Sequence[str]) -> pa.Table:
    """Columns of the index, all of them filled.

    Raises:
        ValueError: it is damaged, a column is missing or of another type, or a value is.
    """
    try:
        table = pq.read_table(path, columns=list(columns))
        if missing := set(columns) - set(table.column_names):
            raise ValueError(f"column {', '.join(sorted(missing))} is missing")
        table = table.select(list(columns)).cast(pa.schema([(name, _TYPES[name]) for name in columns]))
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} cannot be read: {reason}; run: pdfgc repair") from error
    for name in columns:
        if table[name].null_count:
            raise ValueError(f"{path}: {table[name].null_count} rows without {name}; run: pdfgc repair")
    return table


def _check_entries(path: Path, table: pa.Table) -> None:
    """Raise ValueError for the first entry that violates the schema."""
    offsets, sizes = table["offset_bytes"], table["size_bytes"]
    block = TAR_BLOCK_BYTES
    rules = (
        ("a key that must match " + KEY_PATTERN.pattern, _is_no_key(table["key"])),
        (f"frames outside 1 to {MAXIMUM_CLIP_FRAMES}", _is_outside(table["frames"], 1, MAXIMUM_CLIP_FRAMES)),
        ("a negative number of anchors", pc.less(table["anchors"], 0)),
        ("a place that is none of a tar", _is_outside(offsets, 0, _LARGEST_PLACE)),
        ("a size that is none of a sample", _is_outside(sizes, block, _LARGEST_PLACE)),
        ("an unknown split", pc.invert(pc.is_in(table["split"], pa.array(get_args(Split)[:3])))),
    )
    for what, is_wrong in rules:
        wrong = table.filter(is_wrong)
        if wrong.num_rows:
            first = wrong.slice(0, 1).to_pylist()[0]
            raise ValueError(f"{path}: {what}, in {wrong.num_rows} rows; the first is {first}")
    keys = table["key"]
    if len(pc.unique(keys)) != len(keys):
        raise ValueError(f"{path}: {len(keys) - len(pc.unique(keys))} clips occur more than once")
    check_shard_names(path, pc.unique(table["shard"]).to_pylist())


def check_shard_names(path: Path, names: Sequence[str]) -> None:
    """Raise ValueError unless every shard lies below the root: a name must not lead out of it."""
    for name in names:
        parts = name.split("/")
        if {"", ".", ".."} & set(parts) or "\0" in name or "\\" in name or parts[0].endswith(":"):
            raise ValueError(f"{path}: shard {name!r} is not a path below the root")


def _is_outside(column: pa.ChunkedArray, low: int, high: int) -> pa.ChunkedArray:
    return pc.or_(pc.less(column, low), pc.greater(column, high))


def _is_no_key(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.invert(pc.match_substring_regex(column, f"^(?:{KEY_PATTERN.pattern})$"))


def _schema_version(path: Path) -> object:
    try:
        version: object = json.loads(path.read_text("utf-8"))["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error!r}; run: pdfgc repair") from error
    return version


def _splits_of_clips(table: pa.Table) -> list[str]:
    """The split of every clip. Where all people are trained on, each one's last clips are held out."""
    splits: list[str] = table["split"].to_pylist()
    if set(splits) != {"train"}:
        return splits
    keys: dict[str, list[str]] = {}
    for key, identity in zip(table["key"].to_pylist(), table["identity"].to_pylist(), strict=True):
        keys.setdefault(identity, []).append(key)
    held_out = {
        key
        for clips in keys.values()
        if len(clips) >= FEWEST_CLIPS
        for key in sorted(clips)[-max(1, len(clips) // HELD_OUT_SHARE) :]
    }
    return ["held_out_clips" if key in held_out else "train" for key in table["key"].to_pylist()]


def _integers(table: pa.Table, name: str) -> NDArray[np.int64]:
    return table[name].to_numpy().astype(np.int64)


def _splits_of_identities(table: pa.Table) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    split_column = table["split"].to_pylist()
    for column in ("identity", "main_identity"):
        for identity, split in zip(table[column].to_pylist(), split_column, strict=True):
            if splits.setdefault(identity, split) != split:
                raise ValueError(f"identity {identity!r} is in {splits[identity]} and in {split}")
    return splits
