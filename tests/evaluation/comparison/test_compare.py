"""Comparison of two runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from upath import UPath

from evaluation.comparison.compare import RunComparison, compare_records, compare_runs, print_comparison
from evaluation.generation.reenactment import ReenactmentPlan
from evaluation.records import COPY_PORTRAIT, MODEL
from pipelines.cli.main import main
from tests.factories.evaluation.report import metric_records, publish_evaluations, small_plan

RUNS = ("first", "second")


def publish_two(root: Path, plan: ReenactmentPlan | None = None) -> UPath:
    publish_evaluations(UPath(root), "first", with_videos=False)
    better = metric_records(
        "pose_error_yaw", {MODEL: [0.5, 1.5, 1.1], COPY_PORTRAIT: [8.0, 9.1, 8.4]}, unit="°"
    )
    publish_evaluations(UPath(root), "second", plan=plan, control=better, with_videos=False)
    return UPath(root)


def test_compare_records_pairs_by_video() -> None:
    first = metric_records("error", {MODEL: [10.0, 20.0, 30.0]})
    second = metric_records("error", {MODEL: [9.0, 19.1, 28.9]})
    (compared,) = compare_records(RUNS, first, second)
    # The runs' own intervals overlap; the differences -1, -0.9, -1.1 are significant.
    assert compared.difference is not None
    assert compared.difference.mean == pytest.approx(-1.0)
    assert compared.difference.videos == 3
    assert compared.better == "second"


def test_better_run_needs_a_direction_and_significance() -> None:
    first, second = [1.0, 2.0, 3.0], [2.0, 3.1, 4.0]
    higher = [metric_records("m", {MODEL: values}, direction="higher") for values in (first, second)]
    lower = [metric_records("m", {MODEL: values}, direction="lower") for values in (first, second)]
    neither = [metric_records("m", {MODEL: values}, direction="neither") for values in (first, second)]
    insignificant = [
        metric_records("m", {MODEL: values}, direction="higher") for values in (first, [9.0, 0.0, 3.0])
    ]
    better = [compare_records(RUNS, *pair)[0].better for pair in (higher, lower, neither, insignificant)]
    assert better == ["second", "first", "", ""]


def test_records_of_different_scorers_are_not_compared() -> None:
    first = metric_records("lse_c", {MODEL: [1.0]}, scorer="lip_encoders:first:0")
    second = metric_records("lse_c", {MODEL: [2.0]}, scorer="lip_encoders:second:0")
    assert compare_records(RUNS, first, second) == ()


def test_different_units_raise() -> None:
    first, second = (metric_records("m", {MODEL: [1.0]}, unit=unit) for unit in ("°", "rad"))
    with pytest.raises(ValueError, match="unit and direction are"):
        compare_records(RUNS, first, second)


def test_compare_runs_lists_unmatched_metrics(tmp_path: Path) -> None:
    comparison = compare_runs(publish_two(tmp_path), "first", "second")
    assert comparison.obstacles == ()
    yaw = next(metric for metric in comparison.metrics if metric.key.metric == "pose_error_yaw")
    assert yaw.difference is not None
    assert yaw.difference.mean == pytest.approx((-0.5 - 0.5 - 0.4) / 3)
    assert yaw.better == "second"
    assert comparison.unmatched == ("only first has gaze_error (cross, mediapipe_mesh)",)


def test_other_data_set_or_plan_is_an_obstacle(tmp_path: Path) -> None:
    other = small_plan("e" * 64)
    assert compare_runs(publish_two(tmp_path / "data", other), "first", "second").obstacles == (
        f"different data sets: {'d' * 16} and {'e' * 16}",
    )
    fewer = replace(small_plan(), reenactments=small_plan().reenactments[:2])
    (obstacle,) = compare_runs(publish_two(tmp_path / "plan", fewer), "first", "second").obstacles
    assert "of 3 videos and test-seed0 of 2, 2 of them the same" in obstacle


def test_compare_runs_with_itself_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="both runs are 'first'"):
        compare_runs(UPath(tmp_path), "first", "first")


def test_compare_command_prints_table_or_json_or_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("PDFGC_ROOT", str(publish_two(tmp_path / "same")))
    shown = CliRunner().invoke(main, ["compare", "first", "second"])
    assert shown.exit_code == 0
    assert "pose_error_yaw ↓ (°)" in shown.output
    assert "\N{MINUS SIGN}0.47 ± 0.14" in shown.output
    output = json.loads(CliRunner().invoke(main, ["compare", "first", "second", "--json"]).output)
    assert output["comparable"] is True
    assert output["metrics"][0]["difference"]["videos"] == 3
    publish_two(tmp_path / "other", small_plan("e" * 64))
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "other"))
    failed = CliRunner().invoke(main, ["compare", "first", "second"])
    assert failed.exit_code == 1
    assert "first and second cannot be compared: different data sets" in failed.output


def test_print_comparison_shows_unmeasured_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    rows = metric_records("csim", {MODEL: [None]})
    comparison = RunComparison(RUNS, (), compare_records(RUNS, rows, rows), (), ())
    print_comparison(comparison, Console(width=120))
    assert "not measured" in capsys.readouterr().out
