"""One figure of one video, as every evaluation writes it, and what many of them say together.

Long form: a metric's row of a table is all `FigureRow`s that share its `FigureKey`. Imports no torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.table_schema import column, table_schema

FIGURES_TABLE: Final = "figures.parquet"
MODEL: Final = "model"
GROUND_TRUTH: Final = "ground truth"
COPY_PORTRAIT: Final = "copy the portrait"
COPY_TARGET: Final = "copy the target"
OFFICIAL_PUBLISHED: Final = "official, published outputs"
ROWS: Final = (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET, OFFICIAL_PUBLISHED)
BASELINES: Final = (COPY_PORTRAIT, COPY_TARGET)
Direction = Literal["higher", "lower", "neither"]

SCHEMA: Final = table_schema(
    column("metric", pa.string(), "what was measured, its protocol in the name"),
    column("protocol", pa.string(), "which videos: self, cross, control, or another list of pairs"),
    column("row", pa.string(), "whose videos: the model's, a baseline's, the truth, the released model's"),
    column("scorer", pa.string(), "what measured; figures of different scorers never share a column"),
    column("video", pa.string(), "name of the video, or of the pair"),
    column("value", pa.float64(), "the figure; null where there is none"),
    column("missing_because", pa.string(), "why there is none; empty where there is one"),
    column("unit", pa.string(), "unit of the figure; empty: none"),
    column("better", pa.string(), "higher, lower or neither"),
)


@dataclass(frozen=True)
class FigureKey:
    """What figures must share to be averaged."""

    metric: str
    protocol: str
    row: str
    scorer: str


@dataclass(frozen=True)
class FigureRow:
    """One figure of one video.

    Raises:
        ValueError: neither a finite value nor a reason, or both.
    """

    metric: str
    protocol: str
    row: str
    scorer: str
    video: str
    value: float | None
    unit: str
    better: Direction
    missing_because: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.missing_because):
            raise ValueError(
                f"{self.metric} of {self.video}: value {self.value} with reason {self.missing_because!r}; "
                "a figure is there, or the reason why not"
            )
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"{self.metric} of {self.video} is {self.value}; give None and a reason")

    @property
    def key(self) -> FigureKey:
        """What it is averaged with."""
        return FigureKey(self.metric, self.protocol, self.row, self.scorer)


@dataclass(frozen=True)
class Summary:
    """Mean of many videos' figures.

    Attributes:
        mean: None where no video has a figure.
        low, high: Ends of the 95 % interval of the mean; None with fewer than two videos.
        videos: How many have a figure.
        missing: How many have none, by reason.
    """

    key: FigureKey
    mean: float | None
    low: float | None
    high: float | None
    videos: int
    missing: dict[str, int]
    unit: str
    better: Direction


def summarise(rows: Sequence[FigureRow]) -> list[Summary]:
    """Every key's mean and 95 % interval, in the order in which keys first appear.

    The interval is Student's t over videos: videos of one person are not independent, so on few people it
    is too narrow.

    Raises:
        ValueError: rows of one key differ in unit or direction.
    """
    grouped: dict[FigureKey, list[FigureRow]] = {}
    for row in rows:
        grouped.setdefault(row.key, []).append(row)
    return [_summary(key, group) for key, group in grouped.items()]


def _summary(key: FigureKey, rows: list[FigureRow]) -> Summary:
    unit, better = rows[0].unit, rows[0].better
    kinds = {(row.unit, row.better) for row in rows}
    if len(kinds) > 1:
        raise ValueError(f"{key}: figures differ in unit or direction: {sorted(kinds)}")
    values = np.array([row.value for row in rows if row.value is not None])
    missing: dict[str, int] = {}
    for row in rows:
        if row.missing_because:
            missing[row.missing_because] = missing.get(row.missing_because, 0) + 1
    mean = float(values.mean()) if len(values) else None
    low = high = None
    if mean is not None and len(values) > 1:
        from scipy import stats  # slow to import, and forms load this module

        half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
        low, high = mean - half, mean + half
    return Summary(key, mean, low, high, len(values), missing, unit, better)


def write_figures(path: Path, rows: Sequence[FigureRow]) -> None:
    """Write rows as Parquet."""
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in fields(FigureRow)}
    pq.write_table(pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA), path)


def read_figures(path: Path) -> list[FigureRow]:
    """Read what `write_figures` wrote.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return [FigureRow(**record) for record in pq.read_table(path).to_pylist()]
