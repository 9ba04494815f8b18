"""What other thresholds would keep: counts, hours, the rows nearest to the line, histograms of scores."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from preprocessing.gallery.scored_tables import Bools, Floats, ScoredTable
from preprocessing.gallery.selection import rows_at

BINS: Final = 60
TAIL: Final = 0.002  # share of the values on either side that share the outermost bin
NEAREST: Final = 12  # on either side of the line


@dataclass(frozen=True)
class ScoreHistogram:
    """Scores of one bound, in its shown unit."""

    setting: str
    title: str
    unit: str
    is_minimum: bool
    threshold: float | None  # of most rows; None where no build has it
    edges: list[float]  # N + 1
    accepted: list[int]  # N
    refused: list[int]


@dataclass(frozen=True)
class Outcome:
    """What is kept with some thresholds moved."""

    kept: int
    kept_hours: float
    before: int
    before_hours: float
    lost: int  # accepted now, refused then
    gained: int
    lost_hours: float
    gained_hours: float
    kept_side: list[dict[str, Any]]  # rows nearest to the line, on the side that is kept, the nearest first
    refused_side: list[dict[str, Any]]


def histograms(table: ScoredTable) -> list[ScoreHistogram]:
    """A histogram of every bound, of the rows that bounds decide."""
    return [_histogram(table, place) for place in range(len(table.bounds))]


def outcome(table: ScoredTable, moved: Mapping[str, float], focus: str = "") -> Outcome:
    """What is kept if some thresholds were others for all batches; the rest stay as they were for each.

    Args:
        table: clips or anchors.
        moved: setting -> threshold in its shown unit.
        focus: the setting whose nearest rows are listed; "" for none.

    Raises:
        ValueError: a setting that there is not, or a threshold that is not finite.
    """
    places = {bound.setting: place for place, bound in enumerate(table.bounds)}
    for setting, threshold in moved.items():
        if setting not in places or not math.isfinite(threshold):
            raise ValueError(f"settings are {', '.join(places)}, got {setting}={threshold}")
    kept = table.judged.copy()
    others = table.judged.copy()  # passes all bounds but the one in focus
    for place, bound in enumerate(table.bounds):
        threshold = moved.get(bound.setting)
        failed = table.failed(place, None if threshold is None else threshold / bound.scale)
        kept &= ~failed
        if bound.setting != focus:
            others &= ~failed
    kept |= table.accepted & ~table.judged  # what other rules decided stays
    lost, gained = table.accepted & ~kept, kept & ~table.accepted
    sides: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    if focus in places:
        sides = _nearest(table, places[focus], moved.get(focus), others)
    return Outcome(
        int(kept.sum()),
        _hours(table, kept),
        int(table.accepted.sum()),
        _hours(table, table.accepted),
        int(lost.sum()),
        int(gained.sum()),
        _hours(table, lost),
        _hours(table, gained),
        *sides,
    )


def _histogram(table: ScoredTable, place: int) -> ScoreHistogram:
    bound = table.bounds[place]
    scores = table.scores[:, place] * bound.scale
    wanted = table.judged & np.isfinite(scores)
    threshold = most_frequent(table.thresholds[:, place] * bound.scale)
    edges = _edges(scores[wanted], threshold)
    inside = np.clip(scores, edges[0], edges[-1])
    accepted, refused = (
        np.histogram(inside[wanted & side], edges)[0].tolist() for side in (table.accepted, ~table.accepted)
    )
    return ScoreHistogram(
        bound.setting, bound.title, bound.unit, bound.is_minimum, threshold, edges.tolist(), accepted, refused
    )


def _edges(scores: Floats, threshold: float | None) -> Floats:
    seen = [] if threshold is None else [threshold]
    if len(scores):
        seen += np.quantile(scores, [TAIL, 1.0 - TAIL]).tolist()
    low, high = (min(seen), max(seen)) if seen else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    least = 0.0 if low >= 0.0 else -np.inf  # a score that is never negative has no negative axis
    return np.linspace(max(low - margin, least), high + margin, BINS + 1)


def most_frequent(values: Floats) -> float | None:
    """The value of most rows; None where all are NaN."""
    known, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    return float(known[counts.argmax()]) if len(known) else None


def _nearest(
    table: ScoredTable, place: int, moved: float | None, others: Bools
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    bound = table.bounds[place]
    threshold = None if moved is None else moved / bound.scale
    limit = table.thresholds[:, place] if threshold is None else np.full(len(table), threshold)
    distance = np.abs(table.scores[:, place] - limit)
    failed = table.failed(place, threshold)
    sides: list[list[dict[str, Any]]] = []
    for side in (~failed, failed):
        places = np.flatnonzero(others & side & np.isfinite(distance))
        nearest = places[np.argsort(distance[places], kind="stable")[:NEAREST]]
        rows = rows_at(table, nearest)
        for row in rows:
            row["shown_score"] = row["scores"][bound.score] * bound.scale
        sides.append(rows)
    return sides[0], sides[1]


def _hours(table: ScoredTable, rows: Bools) -> float:
    return float(table.seconds[rows].sum()) / 3600.0
