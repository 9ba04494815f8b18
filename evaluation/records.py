"""The record that every evaluation writes: one metric of one video, and summaries over videos.

Long form: all `MetricRecord`s with equal `RecordKey`s are averaged into one `Summary`. Imports no torch.
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

RECORDS_TABLE: Final = "metric_records.parquet"
MODEL: Final = "model"
GROUND_TRUTH: Final = "ground truth"
COPY_PORTRAIT: Final = "copy the portrait"
COPY_TARGET: Final = "copy the target"
OFFICIAL_PUBLISHED: Final = "official, published outputs"
METHODS: Final = (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET, OFFICIAL_PUBLISHED)
"""What produced a video, in the order of the tables' columns."""
BASELINES: Final = (COPY_PORTRAIT, COPY_TARGET)
ALL_VIDEOS: Final = "all videos"
"""Video of a record that is about the whole set of videos."""
Direction = Literal["higher", "lower", "neither"]
"""Which values of a metric are better."""
Task = Literal["self", "cross", "control"]
"""self: a clip drives its own first frame. cross: clips of other people drive. control: a self video of which
one driver alone was replaced.
"""

SCHEMA: Final = table_schema(
    column("metric", pa.string(), "name of the metric, including its protocol"),
    column("task", pa.string(), "reenactment task: self, cross or control"),
    column("method", pa.string(), "what produced the video: the model, a baseline, or the ground truth"),
    column(
        "scorer", pa.string(), "the network or library that measured; scorers are never averaged together"
    ),
    column("video", pa.string(), "name of the video or of the pair of videos"),
    column("value", pa.float64(), "the value; null if it was not measured"),
    column("missing_because", pa.string(), "why it was not measured; empty if it was"),
    column("unit", pa.string(), "unit of the value; empty if dimensionless"),
    column("direction", pa.string(), "which values are better: higher, lower or neither"),
)


@dataclass(frozen=True)
class RecordKey:
    """Records with equal keys are averaged."""

    metric: str
    task: str
    method: str
    scorer: str


@dataclass(frozen=True)
class MetricRecord:
    """The value of one metric for one video, or the reason why it was not measured. Fields: see `SCHEMA`.

    Raises:
        ValueError: neither a value nor a reason, both, or a value that is not finite.
    """

    metric: str
    task: str
    method: str
    scorer: str
    video: str
    value: float | None
    unit: str
    direction: Direction
    missing_because: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.missing_because):
            raise ValueError(
                f"{self.metric} of {self.video}: value {self.value} with reason {self.missing_because!r}; "
                "need either a value or a reason"
            )
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"{self.metric} of {self.video} is {self.value}; use None and a reason")

    @property
    def key(self) -> RecordKey:
        """Key under which the record is averaged."""
        return RecordKey(self.metric, self.task, self.method, self.scorer)


@dataclass(frozen=True)
class Summary:
    """Mean of a metric over videos.

    Attributes:
        mean: None if no video has a value.
        low, high: Bounds of the 95 % confidence interval of the mean; None with fewer than two values.
        videos: Number of videos with a value.
        missing: Reason -> number of videos without a value.
    """

    key: RecordKey
    mean: float | None
    low: float | None
    high: float | None
    videos: int
    missing: dict[str, int]
    unit: str
    direction: Direction


def summarise(records: Sequence[MetricRecord]) -> list[Summary]:
    """Mean and 95 % interval of every key, in the order in which keys first appear.

    The interval is Student's t over videos. Videos of one person are not independent, so with few people it
    is too narrow.

    Raises:
        ValueError: records of one key differ in unit or direction.
    """
    grouped: dict[RecordKey, list[MetricRecord]] = {}
    for record in records:
        grouped.setdefault(record.key, []).append(record)
    return [_summary(key, group) for key, group in grouped.items()]


def _summary(key: RecordKey, records: list[MetricRecord]) -> Summary:
    unit, direction = records[0].unit, records[0].direction
    kinds = {(record.unit, record.direction) for record in records}
    if len(kinds) > 1:
        raise ValueError(f"{key}: records differ in unit or direction: {sorted(kinds)}")
    values = np.array([record.value for record in records if record.value is not None])
    missing: dict[str, int] = {}
    for record in records:
        if record.missing_because:
            missing[record.missing_because] = missing.get(record.missing_because, 0) + 1
    mean = float(values.mean()) if len(values) else None
    low = high = None
    if mean is not None and len(values) > 1:
        from scipy import stats  # slow to import, and the settings forms load this module

        half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
        low, high = mean - half, mean + half
    return Summary(key, mean, low, high, len(values), missing, unit, direction)


def write_records(path: Path, records: Sequence[MetricRecord]) -> None:
    """Write records as Parquet."""
    columns = {
        field.name: [getattr(record, field.name) for record in records] for field in fields(MetricRecord)
    }
    pq.write_table(pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA), path)


def read_records(path: Path) -> list[MetricRecord]:
    """Read what `write_records` wrote.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return [MetricRecord(**entry) for entry in pq.read_table(path).to_pylist()]
