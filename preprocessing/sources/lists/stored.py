"""The lists under the root: `catalog/lists/<name>.parquet`, and what a scan and the batches read of them."""

import re
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from preprocessing.sources.lists.adding import FOLDER_METADATA, STRENGTH, AddReport, add_rows
from preprocessing.sources.lists.reading import Record
from preprocessing.sources.lists.rows import ACCEPTED, LIST_SCHEMA, RefusedRow
from preprocessing.sources.lists.segments import Segment, segment_of
from preprocessing.sources.remote import SourcePath, source_path
from storage.atomic import write_atomically
from storage.objects import entries, is_local, local_path, read_bytes, remove_file, upload_file
from storage.root import scratch_directory

Split = Literal["train", "validation", "test"]  # as in `preprocessing.dataset.splits`
LISTS_FOLDER: Final = "catalog/lists"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class ListedFiles:
    """Which files the lists name, and whose they are."""

    prefixes: dict[str, str] = field(default_factory=dict[str, str])  # folder with its slash -> list
    identities: dict[str, str] = field(default_factory=dict[str, str])  # location -> the first row's

    def list_of(self, location: str) -> str | None:
        """The list of whose folder a file is part; None: of no list's."""
        return next((name for prefix, name in self.prefixes.items() if location.startswith(prefix)), None)


def save_list(
    root: UPath, name: str, records: Iterable[Record | RefusedRow], folder: SourcePath
) -> AddReport:
    """Check a list's rows and store them, in place of a list of the same name.

    Args:
        root: the storage root.
        name: of the list: lower-case letters, digits, - and _.
        records: in their order.
        folder: of the videos.

    Raises:
        ValueError: the name cannot be used, or there is no row.
        FileNotFoundError: the folder does not exist.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"a list's name must match {NAME.pattern}, got {name!r}; set --name")
    if isinstance(folder, Path) and not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; set --videos")
    target = root / LISTS_FOLDER / f"{name}.parquet"
    local = local_path(target) if is_local(root) else scratch_directory(root) / "lists" / f"{name}.parquet"
    with write_atomically(local) as partial:
        report = add_rows(records, folder, partial)
        if not report.rows:
            raise ValueError(f"list {name} has no rows")
    if not is_local(root):
        upload_file(local, target)
        local.unlink()
    return report


def list_names(root: UPath) -> list[str]:
    """The names of the stored lists, sorted."""
    names = (entry.name.removesuffix(".parquet") for entry in entries(root, LISTS_FOLDER))
    return [name for name in names if NAME.fullmatch(name)]  # not of a list that is being written


def remove_list(root: UPath, name: str) -> None:
    """Forget a list; the videos stay in the catalog and are named by their folders again.

    Raises:
        ValueError: there is no such list.
    """
    _require(root, name)
    remove_file(root, f"{LISTS_FOLDER}/{name}.parquet")


def folder_of(root: UPath, name: str) -> SourcePath:
    """The folder of a list's videos."""
    with _open(root, name) as file:
        return source_path((file.schema_arrow.metadata or {})[FOLDER_METADATA].decode())


def read_rows(root: UPath, name: str) -> Iterator[dict[str, Any]]:
    """All rows of a list, in their order."""
    with _open(root, name) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def list_folders(root: UPath) -> list[SourcePath]:
    """The folders of all lists, each once."""
    return list(dict.fromkeys(folder_of(root, name) for name in list_names(root)))


def listed_files(root: UPath) -> ListedFiles:
    """The accepted files of all lists."""
    listed = ListedFiles()
    for name in list_names(root):
        with _open(root, name) as file:
            folder = (file.schema_arrow.metadata or {})[FOLDER_METADATA].decode()
            listed.prefixes.setdefault(f"{folder.rstrip('/')}/", name)
            for batch in file.iter_batches(columns=["status", "path", "identity"]):
                rows = pa.Table.from_batches([batch]).filter(pc.field("status") == ACCEPTED)
                pairs = zip(rows["path"].to_pylist(), rows["identity"].to_pylist(), strict=True)
                for path, identity in pairs:
                    listed.identities.setdefault(path, identity)
    return listed


def segments_of(root: UPath, paths: Collection[str]) -> dict[str, tuple[Segment, ...]]:
    """The segments of some videos by path, in the order of their rows; videos that are whole are left out."""
    found: dict[str, list[Segment]] = defaultdict(list)
    wanted = pa.array(sorted(paths), pa.string())
    for name in list_names(root):
        with _open(root, name) as file:
            for batch in file.iter_batches(columns=[name for name in LIST_SCHEMA.names if name != "detail"]):
                table = pa.Table.from_batches([batch])
                rows = table.filter((pc.field("status") == ACCEPTED) & pc.field("path").isin(wanted))
                for row in rows.to_pylist():
                    found[row["path"]].append(segment_of(row))
    return {
        path: tuple(segments)
        for path, segments in found.items()
        if not (len(segments) == 1 and segments[0].is_whole)
    }


def listed_splits(root: UPath) -> dict[str, Split]:
    """Identity -> the split that the lists give it, the one held out most where they differ."""
    splits: dict[str, str] = {}
    for name in list_names(root):
        with _open(root, name) as file:
            for batch in file.iter_batches(columns=["status", "identity", "split"]):
                rows = pa.Table.from_batches([batch]).filter(pc.field("status") == ACCEPTED)
                pairs = rows.group_by(["identity", "split"]).aggregate([]).to_pylist()
                for pair in pairs:
                    before = splits.get(pair["identity"], "")
                    splits[pair["identity"]] = max(before, pair["split"], key=STRENGTH.__getitem__)
    return {identity: cast("Split", split) for identity, split in sorted(splits.items()) if split}


def _require(root: UPath, name: str) -> None:
    if name not in list_names(root):
        raise ValueError(f"there is no list {name!r}; the lists are: {', '.join(list_names(root)) or 'none'}")


@contextmanager
def _open(root: UPath, name: str) -> Generator[pq.ParquetFile, None, None]:
    _require(root, name)
    path = root / LISTS_FOLDER / f"{name}.parquet"
    source = local_path(path) if is_local(root) else pa.BufferReader(read_bytes(path))
    with pq.ParquetFile(source) as file:
        yield file
