"""Training runs side by side, and their curves in one picture."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from upath import UPath

from evaluation.comparison.run_list import SHOWN, as_json_object, draw_run_curves, list_runs, run_curves
from tests.factories.evaluation.head_files import publish_toy_run
from tests.factories.evaluation.report import publish_evaluations
from training.engine.progress import LossRecord
from training.stage_catalog import RENDERING_STAGE, STAGE_NAMES


def test_runs_are_listed_with_stages_and_figures(tmp_path: Path, toy_presets: None) -> None:  # noqa: ARG001
    publish_toy_run(tmp_path, "older")
    root = publish_toy_run(tmp_path, "newer")
    runs = list_runs(root)
    assert [run.name for run in runs] == ["newer", "older"]
    assert set(runs[0].steps) <= set(STAGE_NAMES)
    assert RENDERING_STAGE in runs[0].steps
    assert (runs[0].figures, runs[0].is_baseline) == ({}, False)
    assert json.loads(json.dumps(as_json_object(runs)))[1]["run"] == "older"
    assert run_curves(root, ["newer"]) == {}  # toy runs keep no metrics


def test_evaluated_run_has_figures(tmp_path: Path, toy_presets: None) -> None:  # noqa: ARG001
    from evaluation.report.build import ReportSettings, run_report

    root = publish_toy_run(tmp_path, "default")
    publish_evaluations(root, "default", with_videos=False)
    run_report(root, "default", ReportSettings(max_videos=0))
    (run,) = list_runs(root)
    assert tuple(run.figures) == SHOWN
    assert run.figures["yaw"] == ".80 (.90)"


def test_curves_of_several_runs_are_in_one_picture() -> None:
    records = [LossRecord(step, 1.0, {"pixel": 1.0 / step, "gaze": 0.5}, 0.1, 10.0) for step in range(1, 20)]
    picture = Image.open(io.BytesIO(draw_run_curves({"a": records, "b": records[:3]}, "stage3_expression")))
    assert picture.size == (1380, 290)


def test_curves_without_records_raise() -> None:
    with pytest.raises(ValueError, match="no run has loss records of stage2_lip: pdfgc train stage2_lip"):
        draw_run_curves({}, "stage2_lip")


def test_root_without_runs_has_no_list(tmp_path: Path) -> None:
    assert list_runs(UPath(tmp_path)) == []
