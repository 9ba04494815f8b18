"""Adding a metric touches one existing file: the table."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from evaluation.config import EvaluationConfig
from evaluation.metrics import table
from evaluation.metrics.metric import Measurement, Metric, MetricWeights
from evaluation.metrics.pictures.inputs import PictureReference, PictureVideo
from evaluation.records import MODEL, MetricRecord, read_records
from evaluation.suites.quality import run_quality_evaluation
from storage.root import local_copy, open_root
from tests.factories.evaluation.report import publish_evaluations


def measure_brightness(generated: PictureVideo, _: PictureReference) -> Measurement:
    """Mean level of the video's pixels, 0 to 255."""
    return Measurement(float(np.mean([picture.mean() for picture in generated.pictures])))


def load_brightness(_: Path) -> Callable[[PictureVideo, PictureReference], Measurement]:
    return measure_brightness


BRIGHTNESS = Metric(
    "brightness_{side_px}px",
    protocol="all frames, at the pictures' size",
    unit="levels",
    direction="neither",
    measure=measure_brightness,
    scorer="toy",
)
WEIGHTED = Metric(
    "weighted_brightness",
    protocol="all frames",
    unit="levels",
    direction="higher",
    load=load_brightness,
    weights=MetricWeights("alexnet", "lpips_weights"),
    scorer="toy",
)


@pytest.fixture
def touched_files(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The toy metrics in the table; returns the existing files that had to change for them."""
    changes: list[tuple[ModuleType, str, object]] = [
        (table, "QUALITY_METRICS", (*table.QUALITY_METRICS, BRIGHTNESS, WEIGHTED)),
    ]
    for module, name, value in changes:
        monkeypatch.setattr(module, name, value)
    return {str(sys.modules[module.__name__].__file__) for module, _, _ in changes}


def records_of_suite(folder: Path) -> list[MetricRecord]:
    root = open_root(str(folder / "root"))
    publish_evaluations(root)
    published = run_quality_evaluation(root, EvaluationConfig(run="default"))
    return read_records(local_copy(published.directory) / "metric_records.parquet")


def test_a_toy_metric_is_measured_from_one_changed_file(tmp_path: Path, touched_files: set[str]) -> None:
    records = records_of_suite(tmp_path)
    assert touched_files == {table.__file__}
    toy = [record for record in records if record.metric == "brightness_64px"]
    assert {(record.task, record.scorer, record.unit, record.direction) for record in toy} == {
        ("self", "toy", "levels", "neither"),
        ("cross", "toy", "levels", "neither"),
    }
    # The factory's model video is of one grey, 30.
    values = [record.value for record in toy if (record.task, record.method) == ("self", MODEL)]
    assert values == pytest.approx([30.0] * len(values), abs=1.0)


@pytest.mark.usefixtures("touched_files")
def test_a_toy_metric_without_its_weights_has_the_reason(tmp_path: Path) -> None:
    toy = [record for record in records_of_suite(tmp_path) if record.metric == "weighted_brightness"]
    assert {(record.task, record.method, record.value) for record in toy} == {
        ("self", MODEL, None),
        ("cross", MODEL, None),
    }
    assert all("pdfgc weights fetch alexnet" in record.missing_because for record in toy)
    assert all("--lpips-weights alexnet" in record.missing_because for record in toy)


def test_metric_needs_a_function_or_a_loader() -> None:
    with pytest.raises(ValueError, match="metric nothing: need either measure or load"):
        Metric("nothing", "frames", "", "higher")
    with pytest.raises(ValueError, match="metric network: load needs weights"):
        Metric("network", "frames", "", "higher", load=load_brightness)
