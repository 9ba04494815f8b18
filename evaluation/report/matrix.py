"""The control matrix: which measures of the output each driver changes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from evaluation.controls import CONTROLS
from evaluation.metrics.control.matrix import CHANGE, FOLLOW
from evaluation.readings.measures import ALL_MEASURES
from evaluation.records import METHODS, MetricRecord

MATRIX_TABLE: Final = "control_matrix.parquet"
CELL_METRIC: Final = re.compile(
    rf"({CHANGE}|{FOLLOW})_(gain_)?({'|'.join(CONTROLS)})_({'|'.join(ALL_MEASURES)})"
)
MATRIX_NAMES: Final = {CHANGE: "one driver changed at a time", FOLLOW: "every driver from another clip"}
"""Titles of the matrix protocols; others are shown by their own name."""


@dataclass(frozen=True)
class MatrixCell:
    """A row of `control_matrix.parquet`: one driver and one measure.

    Attributes:
        correlation, gain: None if not measured.
        still: The measure changed in the driver and not in the output; its correlation counts as 0.
        pairs: Number of video pairs.
    """

    method: str
    scorer: str
    protocol: str
    driver: str
    measure: str
    correlation: float | None
    gain: float | None
    still: bool
    pairs: int

    @property
    def scored_correlation(self) -> float | None:
        """The correlation that enters the matrix's score."""
        return 0.0 if self.still else self.correlation

    @property
    def own(self) -> bool:
        """Whether the measure belongs to the driver's own control."""
        return ALL_MEASURES[self.measure] == self.driver


@dataclass(frozen=True)
class ReportMatrix:
    """The matrix of one method.

    Attributes:
        rows: One a driver, with one cell for each of `measures`; None if there is no such cell.
        follow: Mean correlation of measures with their own driver, see `ControlMatrix`.
        leak: Mean absolute correlation of measures with other drivers.
    """

    method: str
    scorer: str
    protocol: str
    measures: tuple[str, ...]
    drivers: tuple[str, ...]
    rows: tuple[tuple[MatrixCell | None, ...], ...]
    follow: float | None
    leak: float | None

    @property
    def score(self) -> float | None:
        """Follow - leak: at best 1, 0 if nothing moves, at worst -2."""
        return None if self.follow is None or self.leak is None else self.follow - self.leak

    @property
    def name(self) -> str:
        """Title of its protocol."""
        return MATRIX_NAMES.get(self.protocol, self.protocol)

    @property
    def pairs(self) -> str:
        """Number of video pairs per cell, as text."""
        counts = sorted({cell.pairs for row in self.rows for cell in row if cell is not None})
        if len(counts) == 1:
            return f"{counts[0]} {'pair' if counts[0] == 1 else 'pairs'} per cell"
        return f"{counts[0]} to {counts[-1]} pairs per cell"

    def measures_of(self, control: str) -> int:
        """Number of measures of a control: the width of its column group."""
        return sum(ALL_MEASURES[measure] == control for measure in self.measures)


def is_matrix_cell(record: MetricRecord) -> bool:
    """Whether a record belongs to a cell of the control matrix. Other tables leave these many records out."""
    return CELL_METRIC.fullmatch(record.metric) is not None


def read_matrix(path: Path) -> list[MatrixCell]:
    """Read the table of the control evaluation.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown measure or driver.
    """
    names = tuple(MatrixCell.__dataclass_fields__)
    cells = [MatrixCell(**record) for record in pq.read_table(path, columns=list(names)).to_pylist()]
    unknown = {cell.measure for cell in cells} - set(ALL_MEASURES)
    unknown |= {cell.driver for cell in cells} - set(CONTROLS)
    if unknown:
        raise ValueError(
            f"{path}: unknown {sorted(unknown)}; measures are {list(ALL_MEASURES)}, drivers {CONTROLS}"
        )
    return cells


def build_matrices(cells: Sequence[MatrixCell]) -> list[ReportMatrix]:
    """Build a matrix for each protocol, method and scorer; methods in the report's order."""
    kinds = dict.fromkeys((cell.protocol, cell.scorer, cell.method) for cell in cells)
    protocols = list(dict.fromkeys(protocol for protocol, _, _ in kinds))
    order = {method: place for place, method in enumerate(METHODS)}
    ranked = sorted(kinds, key=lambda kind: (protocols.index(kind[0]), order.get(kind[2], len(order))))
    return [
        _matrix([cell for cell in cells if (cell.protocol, cell.scorer, cell.method) == kind])
        for kind in ranked
    ]


def _matrix(cells: Sequence[MatrixCell]) -> ReportMatrix:
    first = cells[0]
    by_place = {(cell.driver, cell.measure): cell for cell in cells}
    measures = tuple(name for name in ALL_MEASURES if any(cell.measure == name for cell in cells))
    drivers = tuple(name for name in CONTROLS if any(cell.driver == name for cell in cells))
    rows = tuple(tuple(by_place.get((driver, measure)) for measure in measures) for driver in drivers)
    own = [cell.scored_correlation for cell in cells if cell.own and cell.scored_correlation is not None]
    other = [
        abs(cell.scored_correlation) for cell in cells if not cell.own and cell.scored_correlation is not None
    ]
    return ReportMatrix(
        first.method, first.scorer, first.protocol, measures, drivers, rows, _mean(own), _mean(other)
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
