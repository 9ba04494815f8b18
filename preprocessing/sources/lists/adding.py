"""Adds a list: every row is checked and found, and ends accepted or refused with a reason, in order.

A million rows are read, checked and written in pieces; in memory are their digests (for repeated rows), the
identities with their splits, and a bit for each row.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.sources.discovery import identity_of
from preprocessing.sources.lists.files import VideoFinder
from preprocessing.sources.lists.reading import Record
from preprocessing.sources.lists.rows import ACCEPTED, LIST_SCHEMA, REFUSED, RefusedRow, check_row
from preprocessing.sources.remote import SourcePath

logger = logging.getLogger(__name__)

PIECE_ROWS: Final = 32_768
FOLDER_METADATA: Final = b"pdfgc.folder"
STRENGTH: Final = {"": 0, "train": 1, "validation": 2, "test": 3}


@dataclass(frozen=True)
class AddReport:
    """What became of a list's rows."""

    rows: int
    accepted: int
    refusals: dict[str, int]  # by reason
    identities: int
    videos: int


@dataclass
class _Seen:
    rows: set[int] = field(default_factory=set[int])  # hashes of accepted rows
    splits: dict[str, str] = field(default_factory=dict[str, str])  # identity -> strongest split
    videos: set[int] = field(default_factory=set[int])  # hashes of locations


def add_rows(records: Iterable[Record | RefusedRow], folder: SourcePath, target: Path) -> AddReport:
    """Check every record and write the list's table (`LIST_SCHEMA`).

    An identity that is in several splits keeps the one that is held out most, and its other rows are refused,
    so that nobody is trained on who is tested on.

    Args:
        records: of `read_list` or of a recipe.
        folder: of the videos.
        target: the Parquet file to write; a file of the first pass stands beside it meanwhile.
    """
    finder, seen = VideoFinder(folder), _Seen()
    schema = LIST_SCHEMA.with_metadata({FOLDER_METADATA: str(folder.resolve()).encode()})
    draft = target.with_name(target.name + ".draft")
    numbered = enumerate(records, start=1)
    try:
        with pq.ParquetWriter(draft, schema) as writer:
            while rows := [
                _row(number, record, finder, seen) for number, record in islice(numbered, PIECE_ROWS)
            ]:
                writer.write_table(_table(rows, schema))
                logger.info("Checked %d rows", rows[-1]["row"])
        return _write_final(draft, target, schema, seen)
    finally:
        draft.unlink(missing_ok=True)


def _row(number: int, record: Record | RefusedRow, finder: VideoFinder, seen: _Seen) -> dict[str, Any]:
    try:
        if isinstance(record, RefusedRow):
            raise record
        return _accepted(number, record, finder, seen)
    except RefusedRow as refusal:
        given = {} if isinstance(record, RefusedRow) else record
        named = refusal.path or str(given.get("path") or given.get("key") or "")
        return _refused(number, named, refusal)


def _accepted(number: int, record: Record, finder: VideoFinder, seen: _Seen) -> dict[str, Any]:
    row = check_row(record)
    location = finder.locate(row.path, row.key)
    identity = row.identity or identity_of(finder.relative(location))
    same = hash((location, row.start_seconds, row.end_seconds, row.face, row.track, identity))
    if same in seen.rows:
        raise RefusedRow("repeated_row", f"the same part of {location} stands in an earlier row")
    seen.rows.add(same)
    seen.videos.add(hash(location))
    if STRENGTH[row.split] >= STRENGTH[seen.splits.get(identity, "")]:
        seen.splits[identity] = row.split
    return {
        "row": number,
        "status": ACCEPTED,
        "reason": "",
        "detail": "",
        "path": location,
        "start_seconds": row.start_seconds,
        "end_seconds": row.end_seconds,
        "face": row.face,
        "track": row.track,
        "identity": identity,
        "split": row.split,
        "labels": row.labels,
    }


def _refused(number: int, path: str, refusal: RefusedRow) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(LIST_SCHEMA.names)
    text = {"path": path, "reason": refusal.reason, "detail": refusal.detail}
    empty = dict.fromkeys(("identity", "split", "labels"), "")
    return (
        row
        | empty
        | {"row": number, "status": REFUSED}
        | {name: _utf8(value) for name, value in text.items()}
    )


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    columns = {name: [row[name] for row in rows] for name in schema.names}
    return pa.table(columns, schema=schema)


def _write_final(draft: Path, target: Path, schema: pa.Schema, seen: _Seen) -> AddReport:
    refusals: Counter[str] = Counter()
    total = 0
    with pq.ParquetFile(draft) as file, pq.ParquetWriter(target, schema) as writer:
        for batch in file.iter_batches(PIECE_ROWS):
            table = _refuse_other_splits(pa.Table.from_batches([batch]), seen.splits, schema)
            counted = table["reason"].value_counts().to_pylist()
            refusals.update({entry["values"]: entry["counts"] for entry in counted})
            total += table.num_rows
            writer.write_table(table)
    accepted = refusals.pop("", 0)
    return AddReport(total, accepted, dict(refusals.most_common()), len(seen.splits), len(seen.videos))


def _refuse_other_splits(table: pa.Table, splits: Mapping[str, str], schema: pa.Schema) -> pa.Table:
    pairs = zip(
        table["status"].to_pylist(), table["identity"].to_pylist(), table["split"].to_pylist(), strict=True
    )
    others = {
        place: (identity, split)
        for place, (status, identity, split) in enumerate(pairs)
        if status == ACCEPTED and split and split != splits[identity]
    }
    if not others:
        return table.cast(schema)
    columns = {name: table[name].to_pylist() for name in ("status", "reason", "detail")}
    for place, (identity, split) in others.items():
        columns["status"][place], columns["reason"][place] = REFUSED, "identity_in_two_splits"
        columns["detail"][place] = (
            f"{identity} is in {splits[identity]} too, which is held out more than {split}"
        )
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
    return table.cast(schema)


def accepted_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The accepted rows of a list's table."""
    for batch in table.to_batches(PIECE_ROWS):
        for row in batch.to_pylist():
            if row["status"] == ACCEPTED:
                yield row
