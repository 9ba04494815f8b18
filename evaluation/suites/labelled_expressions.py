"""The expression metrics by emotion, where a list labelled the clips: `expression_labels.parquet`.

A row a video, method and expression metric, with the emotion and intensity of the clip that drove the
expression. Corpora such as MEAD, CREMA-D and RAVDESS label them (docs/corpora.md).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.generation.files import GeneratedVideos
from evaluation.readings.measures import ALL_MEASURES
from evaluation.records import MetricRecord
from preprocessing.table_schema import column, table_schema

LABELS_TABLE: Final = "expression_labels.parquet"
LABELS_SCHEMA: Final = table_schema(
    column("video", pa.string(), "name of the reenactment"),
    column("task", pa.string(), "self or cross"),
    column("method", pa.string(), "what produced the video"),
    column("scorer", pa.string(), "what measured"),
    column("metric", pa.string(), "of the expression"),
    column("value", pa.float64(), "null if it was not measured"),
    column("emotion", pa.string(), "label of the clip that drives the expression"),
    column("intensity", pa.string(), "its intensity as the corpus writes it; empty if it gives none"),
)
EXPRESSION_MEASURES: Final = tuple(name for name, control in ALL_MEASURES.items() if control == "expression")


def labelled_expressions(records: Sequence[MetricRecord], generated: GeneratedVideos) -> list[dict[str, Any]]:
    """The rows of `LABELS_SCHEMA`; [] where no driver of an expression is labelled."""
    labels: dict[str, dict[str, Any]] = {}
    for reenactment in generated.plan.reenactments:
        driver = generated.facts.clips.get(reenactment.drivers.get("expression", ""))
        if driver is not None and "emotion" in driver.annotations:
            labels[reenactment.name] = driver.annotations
    return [
        {
            "video": record.video,
            "task": record.task,
            "method": record.method,
            "scorer": record.scorer,
            "metric": record.metric,
            "value": record.value,
            "emotion": str(labels[record.video]["emotion"]),
            "intensity": str(labels[record.video].get("intensity", "")),
        }
        for record in records
        if record.video in labels and record.metric.startswith(EXPRESSION_MEASURES)
    ]


def write_labelled_expressions(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write the table; nothing without rows."""
    if rows:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=LABELS_SCHEMA), folder / LABELS_TABLE)
