"""Reads lists: CSV (also tab-separated), JSON lines and Parquet, a few thousand records at a time."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.sources.lists.rows import RefusedRow

Record = dict[str, Any]
LIST_SUFFIXES: Final = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
PARQUET_ROWS: Final = 8192
FIELD_BYTES: Final = 2**20  # of a CSV's value
LINE_CHARACTERS: Final = 2**24  # of a JSON line; a track of an hour has some 4 million


def read_list(path: Path) -> Iterator[Record | RefusedRow]:
    """The records of a list in their order; a damaged line is the refusal that its row becomes.

    Raises:
        ValueError: the ending is none of `LIST_SUFFIXES`, or the file is not what its ending says.
        OSError: it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _read_csv(path, "\t" if suffix == ".tsv" else ",")
    if suffix in (".jsonl", ".ndjson"):
        return _read_json_lines(path)
    if suffix == ".parquet":
        return _read_parquet(path)
    raise ValueError(f"{path} must end in one of {', '.join(LIST_SUFFIXES)}")


def _read_csv(path: Path, delimiter: str) -> Iterator[Record | RefusedRow]:
    csv.field_size_limit(FIELD_BYTES)
    # utf-8-sig: spreadsheets put a byte order mark in front.
    with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        lines = csv.reader(file, delimiter=delimiter)
        try:
            names = [name.strip() for name in next(lines, [])]
        except csv.Error as error:
            raise ValueError(f"{path}: the first line cannot be read: {error}") from error
        if len(set(names)) < len(names) or not {"path", "key"} & set(names):
            raise ValueError(
                f"{path}: the first line must name columns, once each, with path or key: {names}"
            )
        while True:
            try:
                values = next(lines, None)
            except csv.Error as error:
                yield RefusedRow("damaged_row", f"line {lines.line_num}: {error}")
                continue
            if values is None:
                return
            if not values:  # an empty line
                continue
            if len(values) != len(names):
                yield RefusedRow(
                    "damaged_row", f"line {lines.line_num} has {len(values)} values, need {len(names)}"
                )
            else:
                yield dict(zip(names, values, strict=True))


def _read_json_lines(path: Path) -> Iterator[Record | RefusedRow]:
    with path.open(encoding="utf-8", errors="backslashreplace") as file:
        for number, line in enumerate(_lines(file), start=1):
            if not line.strip():
                continue
            if len(line) == LINE_CHARACTERS and not line.endswith("\n"):
                yield RefusedRow("damaged_row", f"line {number} has more than {LINE_CHARACTERS} characters")
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield RefusedRow("damaged_row", f"line {number} is no JSON: {error}")
                continue
            if isinstance(record, dict):
                yield record
            else:
                yield RefusedRow("damaged_row", f"line {number} is no JSON object")


def _lines(file: IO[str]) -> Iterator[str]:
    """The lines of a file; of a longer one the first `LINE_CHARACTERS`."""
    while line := file.readline(LINE_CHARACTERS):
        yield line
        while len(line) == LINE_CHARACTERS and not line.endswith("\n"):
            line = file.readline(LINE_CHARACTERS)


def _read_parquet(path: Path) -> Iterator[Record | RefusedRow]:
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file: {error}") from error
    with file:
        for batch in file.iter_batches(PARQUET_ROWS):
            yield from batch.to_pylist()
