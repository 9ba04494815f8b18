"""Which clips or anchors a page of the gallery shows: filters over the index, and one slice of the result."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from preprocessing.gallery.index import LABEL_NAMED, GalleryIndex
from preprocessing.gallery.scored_tables import Bools, ScoredTable
from preprocessing.gallery.tables import compute
from preprocessing.orchestration.step import people_text

STATES: Final = ("accepted", "refused", "all")
ROWS_AT_MOST: Final = 200  # of a slice
NAMES_LISTED: Final = 500  # people of a filter; others are found by typing


@dataclass(frozen=True)
class Filter:
    """What is shown; "" and None leave all."""

    state: str = "all"
    batch: str = ""
    person: str = ""  # part of the name, whatever its case
    reason: str = ""
    file: str = ""  # part of the path
    label: str = ""  # a name of `LABELS`
    low: float | None = None  # some frame's value is at least this
    high: float | None = None  # and at most this
    order: str = ""  # a score; "-score" from the largest; "": by batch and key

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state must be one of {', '.join(STATES)}, got {self.state!r}")
        if self.label and self.label not in LABEL_NAMED:
            raise ValueError(f"label must be one of {', '.join(LABEL_NAMED)}, got {self.label!r}")


@dataclass(frozen=True)
class Slice:
    """Some of the rows that a filter leaves."""

    total: int  # rows that the filter leaves
    seconds: float  # of all of them
    rows: list[dict[str, Any]]


def select(index: GalleryIndex, table: ScoredTable, wanted: Filter, offset: int, limit: int) -> Slice:
    """The rows `offset` to `offset + limit` of those that a filter leaves.

    Args:
        index: of the gallery.
        table: `index.clips()` or `index.anchors()`; labels filter clips alone.
        wanted: the filter.
        offset: >= 0
        limit: 1 to `ROWS_AT_MOST`.

    Raises:
        ValueError: numbers out of bounds, or an order that there is not.
    """
    if offset < 0 or not 1 <= limit <= ROWS_AT_MOST:
        raise ValueError(f"offset must be >= 0 and limit 1 to {ROWS_AT_MOST}, got {offset} and {limit}")
    left = np.flatnonzero(_mask(index, table, wanted))
    places = _ordered(table, left, wanted.order)[offset : offset + limit]
    return Slice(len(left), float(table.seconds[left].sum()), rows_at(table, places))


def rows_at(table: ScoredTable, places: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Rows of a table with whether they were accepted, and their scores by name."""
    names = [bound.score for bound in table.bounds]
    rows = table.columns.take(pa.array(places)).to_pylist()
    for row, place in zip(rows, places, strict=True):
        row["accepted"] = bool(table.accepted[place])
        scores = zip(names, table.scores[place].tolist(), strict=True)
        row["scores"] = {name: score for name, score in scores if not math.isnan(score)}
    return rows


def find(table: ScoredTable, batch: str, key: str) -> dict[str, Any]:
    """The row of a clip. Raises KeyError: there is none."""
    columns = table.columns
    if columns.num_rows:
        found = compute.and_(compute.equal(columns["key"], key), compute.equal(columns["batch"], batch))
        places = np.flatnonzero(found.to_numpy())
        if len(places):
            return rows_at(table, places[:1])[0]
    raise KeyError(key)


def counts_of(table: ScoredTable) -> dict[str, Mapping[str, int]]:
    """Rows by batch, person and reason, the most frequent first; of many people the first."""
    counts: dict[str, Mapping[str, int]] = {}
    for name in ("batch", "identity", "reason"):
        values = compute.value_counts(table.columns[name].combine_chunks()).to_pylist() if len(table) else []
        counter = Counter({each["values"]: each["counts"] for each in values})
        counter.pop("", None)
        counts[name] = dict(counter.most_common(NAMES_LISTED))
    return counts


def batch_titles(table: ScoredTable) -> dict[str, str]:
    """Batch -> who is in it, by the first name."""
    if not len(table):
        return {}
    wanted = [("identity", "min"), ("identity", "count_distinct")]
    rows = table.columns.group_by("batch").aggregate(wanted).to_pylist()
    return {row["batch"]: people_text(row["identity_min"], row["identity_count_distinct"]) for row in rows}


def _mask(index: GalleryIndex, table: ScoredTable, wanted: Filter) -> Bools:
    mask = np.ones(len(table), np.bool_)
    if not len(table):
        return mask
    if wanted.state != "all":
        mask &= table.accepted if wanted.state == "accepted" else ~table.accepted
    for name, value in (("batch", wanted.batch), ("reason", wanted.reason)):
        if value:
            mask &= compute.equal(table.columns[name], value).to_numpy()
    for name, part in (("identity", wanted.person), ("relative_path", wanted.file)):
        if part and name in table.columns.column_names:
            mask &= compute.match_substring(table.columns[name], part, ignore_case=True).to_numpy()
    if wanted.label:
        lowest, highest = index.label_range(LABEL_NAMED[wanted.label])
        mask &= ~np.isnan(highest)
        if wanted.low is not None:
            mask &= highest >= wanted.low
        if wanted.high is not None:
            mask &= lowest <= wanted.high
    return mask


def _ordered(table: ScoredTable, places: NDArray[np.int64], order: str) -> NDArray[np.int64]:
    if not order:
        return places
    names = [bound.score for bound in table.bounds]
    name = order.removeprefix("-")
    if name not in names:
        raise ValueError(f"order must be one of {', '.join(names)}, got {order!r}")
    scores = table.scores[places, names.index(name)]
    return places[np.argsort(-scores if order.startswith("-") else scores, kind="stable")]  # NaN last
