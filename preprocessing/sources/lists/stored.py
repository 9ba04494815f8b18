"""The lists under the root: `catalog/lists/<name>.parquet`, and what a scan and the batches read of them.

The sha256 of each stands in `<name>.sha256`, a second one while the list is being replaced. Every reader
checks it. A list of an earlier version has none.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
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
from storage.fingerprint import file_sha256
from storage.integrity.faults import sha256_text
from storage.objects import (
    entries,
    is_local,
    local_path,
    read_bytes,
    remove_file,
    upload_file,
    write_bytes,
)
from storage.root import scratch_directory

Split = Literal["train", "validation", "test"]  # as in `preprocessing.dataset.splits`
LISTS_FOLDER: Final = "catalog/lists"
DIGEST_SUFFIX: Final = ".sha256"
LISTS_REMEMBERED: Final = 64
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
        digest, before = file_sha256(partial), _recorded_digests(root, name)
        if before:  # else the record comes last: without one, a list counts as it is
            _record_digests(root, name, (digest, *before))
    if not is_local(root):
        upload_file(local, target)
        local.unlink()
    _record_digests(root, name, (digest,))
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
    remove_file(root, f"{LISTS_FOLDER}/{name}{DIGEST_SUFFIX}")
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
    names = list_names(root)
    if not names:
        return {}
    wanted = pa.array(sorted(paths), pa.string())
    for name in names:
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
    if is_local(root):
        status = local_path(path).stat()
        found = _file_digest(local_path(path), status.st_size, status.st_mtime_ns, status.st_ino)
        source: Any = local_path(path)
    else:
        data = read_bytes(path)
        found, source = hashlib.sha256(data).hexdigest(), pa.BufferReader(data)
    if fault := list_fault(root, name, found):
        raise ValueError(f"list {path} is damaged: {fault[1]} instead of {fault[0]}; {add_again(name)}")
    with pq.ParquetFile(source) as file:
        yield file


def list_fault(root: UPath, name: str, found: str) -> tuple[str, str] | None:
    """The sha256 that was recorded of a list and the one found, as texts; None if they agree."""
    recorded = _recorded_digests(root, name)
    return (sha256_text(recorded[0]), sha256_text(found)) if recorded and found not in recorded else None


def recorded_lists(root: UPath) -> list[str]:
    """The names of the lists that are there or have a recorded sha256."""
    names = (entry.name.removesuffix(DIGEST_SUFFIX) for entry in entries(root, LISTS_FOLDER))
    return sorted({*list_names(root), *(name for name in names if NAME.fullmatch(name))})


def add_again(name: str) -> str:
    """What to do about a damaged list."""
    return f"add it again: pdfgc sources add LIST --name {name}"


@lru_cache(LISTS_REMEMBERED)
def _file_digest(path: Path, size_bytes: int, modified_ns: int, inode: int) -> str:
    """sha256 of a file, once for each state of it: every batch reads the lists."""
    del size_bytes, modified_ns, inode
    return file_sha256(path)


def _recorded_digests(root: UPath, name: str) -> tuple[str, ...]:
    try:
        return tuple(read_bytes(root / LISTS_FOLDER / f"{name}{DIGEST_SUFFIX}").decode().split())
    except FileNotFoundError:
        return ()


def _record_digests(root: UPath, name: str, digests: tuple[str, ...]) -> None:
    text = "".join(f"{digest}\n" for digest in digests)
    write_bytes(root / LISTS_FOLDER / f"{name}{DIGEST_SUFFIX}", text.encode())
