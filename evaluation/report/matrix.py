"""The control matrix as the report shows it: what each driver, changed alone, moved in the output."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from evaluation.controls import CONTROLS
from evaluation.metrics.control.control_matrix import CHANGE, FOLLOW
from evaluation.readings.measures import ALL_MEASURES
from evaluation.records import METHODS, MetricRecord

MATRIX_TABLE: Final = "control_matrix.parquet"
CELL_METRIC: Final = re.compile(
    rf"({CHANGE}|{FOLLOW})_(gain_)?({'|'.join(CONTROLS)})_({'|'.join(ALL_MEASURES)})"
)
MATRIX_NAMES: Final = {CHANGE: "one driver changed alone", FOLLOW: "every driver from another clip"}
"""What people call a matrix's protocol; another one goes by its own name."""


@dataclass(frozen=True)
class MatrixCell:
    """One driver and one measure, as `control_matrix.parquet` holds it; None where nothing was measured.

    still: the driver's moved and the output's did not, so it follows with 0.
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
    def followed(self) -> float | None:
        """The correlation as the matrix's score counts it."""
        return 0.0 if self.still else self.correlation

    @property
    def own(self) -> bool:
        """The measure belongs to the driver's own control."""
        return ALL_MEASURES[self.measure] == self.driver


@dataclass(frozen=True)
class ReportMatrix:
    """One row's matrix. `lines`: a line a driver, a cell a measure of `measures`, None where there is none.

    Attributes:
        follow: Mean correlation of measures with their own driver; as `control_matrix.ControlMatrix`.
        leak: Mean absolute correlation of measures with other drivers.
    """

    method: str
    scorer: str
    protocol: str
    measures: tuple[str, ...]
    drivers: tuple[str, ...]
    lines: tuple[tuple[MatrixCell | None, ...], ...]
    follow: float | None
    leak: float | None

    @property
    def score(self) -> float | None:
        """Follow − leak: 1 at best, 0 where nothing moves, −2 at worst."""
        return None if self.follow is None or self.leak is None else self.follow - self.leak

    @property
    def name(self) -> str:
        """What people call its protocol."""
        return MATRIX_NAMES.get(self.protocol, self.protocol)

    @property
    def pairs(self) -> str:
        """How many pairs of videos stand behind the cells."""
        counts = sorted({cell.pairs for line in self.lines for cell in line if cell is not None})
        if len(counts) == 1:
            return f"{counts[0]} {'pair' if counts[0] == 1 else 'pairs'} a cell"
        return f"{counts[0]} to {counts[-1]} pairs a cell"

    def measures_of(self, control: str) -> int:
        """How many of the measures belong to a control: the width of its column group."""
        return sum(ALL_MEASURES[measure] == control for measure in self.measures)


def split_cells(rows: Sequence[MetricRecord]) -> tuple[list[MetricRecord], list[MetricRecord]]:
    """Figures that are no cell of a matrix, and those that are: too many to stand among the others."""
    cells = [row for row in rows if CELL_METRIC.fullmatch(row.metric)]
    return [row for row in rows if not CELL_METRIC.fullmatch(row.metric)], cells


def read_matrix(path: Path) -> list[MatrixCell]:
    """Read the cells that the control evaluation wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a measure or driver that this version does not know.
    """
    names = tuple(MatrixCell.__dataclass_fields__)
    cells = [MatrixCell(**record) for record in pq.read_table(path, columns=list(names)).to_pylist()]
    unknown = {cell.measure for cell in cells} - set(ALL_MEASURES)
    unknown |= {cell.driver for cell in cells} - set(CONTROLS)
    if unknown:
        raise ValueError(
            f"{path} holds {sorted(unknown)}; measures are {list(ALL_MEASURES)}, drivers {CONTROLS}"
        )
    return cells


def build_matrices(cells: Sequence[MatrixCell]) -> list[ReportMatrix]:
    """A matrix for each row, scorer and protocol; protocols as they appear, rows in the report's order."""
    kinds = dict.fromkeys((cell.protocol, cell.scorer, cell.method) for cell in cells)
    protocols = list(dict.fromkeys(protocol for protocol, _, _ in kinds))
    order = {row: place for place, row in enumerate(METHODS)}
    ranked = sorted(kinds, key=lambda kind: (protocols.index(kind[0]), order.get(kind[2], len(order))))
    return [
        _matrix([cell for cell in cells if (cell.protocol, cell.scorer, cell.method) == kind])
        for kind in ranked
    ]


def _matrix(cells: Sequence[MatrixCell]) -> ReportMatrix:
    first = cells[0]
    found = {(cell.driver, cell.measure): cell for cell in cells}
    measures = tuple(name for name in ALL_MEASURES if any(cell.measure == name for cell in cells))
    drivers = tuple(name for name in CONTROLS if any(cell.driver == name for cell in cells))
    lines = tuple(tuple(found.get((driver, measure)) for measure in measures) for driver in drivers)
    own = [cell.followed for cell in cells if cell.own and cell.followed is not None]
    other = [abs(cell.followed) for cell in cells if not cell.own and cell.followed is not None]
    return ReportMatrix(
        first.method, first.scorer, first.protocol, measures, drivers, lines, _mean(own), _mean(other)
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
