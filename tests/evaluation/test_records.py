"""Rows of every evaluation's table, and their means."""

import math
from pathlib import Path

import pytest

from evaluation.records import MODEL, MetricRecord, read_records, summarise, write_records


def row(value: float | None, *, metric: str = "psnr", unit: str = "dB", because: str = "") -> MetricRecord:
    return MetricRecord(metric, "self", MODEL, "torchmetrics", "v", value, unit, "higher", because)


def test_summary_interval_is_students_t() -> None:
    (summary,) = summarise([row(1.0), row(2.0), row(3.0)])
    # t(0.975, 2) = 4.302653, standard error of 1, 2, 3 is 1 / sqrt(3).
    half = 4.302653 / math.sqrt(3)
    assert summary.mean == 2.0
    assert summary.low == pytest.approx(2.0 - half, abs=1e-5)
    assert summary.high == pytest.approx(2.0 + half, abs=1e-5)


def test_summary_counts_missing_values_by_reason() -> None:
    (summary,) = summarise([row(4.0), row(None, because="no face"), row(None, because="no face")])
    assert (summary.mean, summary.videos, summary.missing) == (4.0, 1, {"no face": 2})
    assert summary.low is None


def test_summary_without_values_has_no_mean() -> None:
    (summary,) = summarise([row(None, because="no weights")])
    assert summary.mean is None


def test_record_needs_a_value_or_a_reason() -> None:
    with pytest.raises(ValueError, match="need either a value or a reason"):
        row(None)
    with pytest.raises(ValueError, match="need either a value or a reason"):
        row(1.0, because="no face")


def test_record_rejects_infinite_values() -> None:
    with pytest.raises(ValueError, match="psnr of v is inf"):
        row(math.inf)


def test_summarise_rejects_differing_units() -> None:
    with pytest.raises(ValueError, match="differ in unit"):
        summarise([row(1.0), row(1.0, unit="")])


def test_records_round_trip_through_parquet(tmp_path: Path) -> None:
    rows = [row(1.5), row(None, because="no face", metric="ssim", unit="")]
    write_records(tmp_path / "metric_records.parquet", rows)
    assert read_records(tmp_path / "metric_records.parquet") == rows
