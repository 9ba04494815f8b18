"""The clips of one split of a published data set, as arrays.

Reads the index itself, with pyarrow: importing `preprocessing.dataset.joining` would bring the labellers
into every worker.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from upath import UPath

from preprocessing.schema import INDEX_TABLE, SCHEMA_VERSION, STATISTICS_NAME
from storage.publishing import current
from storage.root import local_copy, scratch_directory, verified_copy

Split = Literal["train", "validation", "test", "held_out_clips"]
"""People of a split share no clip. `held_out_clips` exists only in a data set without held-out people."""
HELD_OUT_SHARE: Final = 5
"""Of such a data set, one clip in five of each person is held out, the last ones; at least one."""
FEWEST_CLIPS: Final = 3  # of a person, for one to be held out
FEATURES_FOLDER: Final = "frame_features"  # of the scratch directory
_COLUMNS: Final = (
    "key",
    "identity",
    "main_identity",
    "video_id",
    "split",
    "frames",
    "anchors",
    "shard",
    "offset_bytes",
    "size_bytes",
)


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

    def identity(self, clip: int) -> str:
        """Identity of a clip."""
        return str(self.identity_column[clip].as_py())


def open_current(root: UPath, split: Split) -> ClipIndex:
    """A split of the current data set under a root; shards of a bucket are copied to this machine first.

    Data set and shards are verified, once on each machine.

    Raises:
        ValueError: no data set is published there, it or a shard is damaged, or `read_clip_index` rejects it.
    """
    published = current(root, "dataset", "whole")
    if published is None:
        raise ValueError(f"no data set is published under {root}: run the pipeline up to `dataset` first")
    folder = verified_copy(published.directory)
    names = sorted(set(pq.read_table(folder / INDEX_TABLE, columns=["shard"])["shard"].to_pylist()))
    folders = {name.rpartition("/")[0] for name in names}
    published_shards = {value.location for value in published.manifest.inputs.values()}
    copies = {
        name: verified_copy(root / name) if name in published_shards else local_copy(root / name)
        for name in sorted(folders)
    }
    files = {name: copies[name.rpartition("/")[0]] / Path(name).name for name in names}
    index = read_clip_index(folder, files, split)
    return dataclasses.replace(index, features_folder=scratch_directory(root) / FEATURES_FOLDER)


def read_clip_index(folder: Path, shard_files: Path | Mapping[str, Path], split: Split) -> ClipIndex:
    """The clips of a split, in the index's order.

    Args:
        folder: of the data set (`index.parquet`, `statistics.json`).
        shard_files: the root as a local folder, or the path of each shard of the index.
        split: of which to read the clips.

    Raises:
        ValueError: the data set is of another schema version, has no clip in the split, or an identity in
            two splits.
    """
    version = json.loads((folder / STATISTICS_NAME).read_text("utf-8"))["schema_version"]
    if version != SCHEMA_VERSION:
        raise ValueError(f"{folder}: data set of schema version {version}, this code reads {SCHEMA_VERSION}")
    table = pq.read_table(folder / INDEX_TABLE, columns=list(_COLUMNS))
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
    table = pq.read_table(
        verified_copy(published.directory) / INDEX_TABLE, columns=["key", "identity", "split"]
    )
    return _splits_of_clips(table).count("held_out_clips")


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
