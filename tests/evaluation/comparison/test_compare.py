"""Two runs side by side."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from upath import UPath

from evaluation.comparison.compare import Comparison, compare_figures, compare_runs, print_comparison
from evaluation.generation.reenactment import ReenactmentPlan
from evaluation.records import COPY_PORTRAIT, MODEL
from pipelines.cli.main import main
from tests.factories.report import figures, publish_evaluations, small_plan

RUNS = ("first", "second")


def publish_two(root: Path, plan: ReenactmentPlan | None = None) -> UPath:
    publish_evaluations(UPath(root), "first", with_videos=False)
    better = figures("pose_error_yaw", {MODEL: [0.5, 1.5, 1.1], COPY_PORTRAIT: [8.0, 9.1, 8.4]}, unit="°")
    publish_evaluations(UPath(root), "second", plan=plan, control=better, with_videos=False)
    return UPath(root)


def test_the_difference_is_paired_by_video() -> None:
    first = figures("error", {MODEL: [10.0, 20.0, 30.0]})
    second = figures("error", {MODEL: [9.0, 19.1, 28.9]})
    (compared,) = compare_figures(RUNS, first, second)
    # The runs' own intervals overlap by far; the differences -1, -0.9, -1.1 are clear.
    assert compared.difference is not None
    assert compared.difference.mean == pytest.approx(-1.0)
    assert compared.difference.videos == 3
    assert compared.better == "second"


def test_the_better_run_depends_on_the_direction_and_on_clearness() -> None:
    first, second = [1.0, 2.0, 3.0], [2.0, 3.1, 4.0]
    higher = [figures("m", {MODEL: values}, direction="higher") for values in (first, second)]
    lower = [figures("m", {MODEL: values}, direction="lower") for values in (first, second)]
    neither = [figures("m", {MODEL: values}, direction="neither") for values in (first, second)]
    unclear = [figures("m", {MODEL: values}, direction="higher") for values in (first, [9.0, 0.0, 3.0])]
    better = [compare_figures(RUNS, *pair)[0].better for pair in (higher, lower, neither, unclear)]
    assert better == ["second", "first", "", ""]


def test_figures_of_different_scorers_are_not_compared() -> None:
    first = figures("lse_c", {MODEL: [1.0]}, scorer="lip_encoders:first:0")
    second = figures("lse_c", {MODEL: [2.0]}, scorer="lip_encoders:second:0")
    assert compare_figures(RUNS, first, second) == ()


def test_units_that_differ_are_refused() -> None:
    first, second = (figures("m", {MODEL: [1.0]}, unit=unit) for unit in ("°", "rad"))
    with pytest.raises(ValueError, match="unit and direction are"):
        compare_figures(RUNS, first, second)


def test_runs_of_one_protocol_are_compared_and_what_one_alone_has_is_told(tmp_path: Path) -> None:
    comparison = compare_runs(publish_two(tmp_path), "first", "second")
    assert comparison.obstacles == ()
    yaw = next(figure for figure in comparison.figures if figure.key.metric == "pose_error_yaw")
    assert yaw.difference is not None
    assert yaw.difference.mean == pytest.approx((-0.5 - 0.5 - 0.4) / 3)
    assert yaw.better == "second"
    assert comparison.unmatched == ("first alone has gaze_error (cross, mediapipe_mesh)",)


def test_another_data_set_or_protocol_is_an_obstacle(tmp_path: Path) -> None:
    other = small_plan("e" * 64)
    assert compare_runs(publish_two(tmp_path / "data", other), "first", "second").obstacles == (
        f"different data sets: clips are drawn from {'d' * 16} and from {'e' * 16}",
    )
    fewer = replace(small_plan(), reenactments=small_plan().reenactments[:2])
    (told,) = compare_runs(publish_two(tmp_path / "plan", fewer), "first", "second").obstacles
    assert "of 3 videos and test-seed0 of 2, 2 of them the same" in told


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="both runs are 'first'"):
        compare_runs(UPath(tmp_path), "first", "first")


def test_the_command_prints_a_table_or_json_and_fails_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("PDFGC_ROOT", str(publish_two(tmp_path / "same")))
    shown = CliRunner().invoke(main, ["compare", "first", "second"])
    assert shown.exit_code == 0
    assert "pose_error_yaw ↓ (°)" in shown.output
    assert "\N{MINUS SIGN}0.47 ± 0.14" in shown.output
    told = json.loads(CliRunner().invoke(main, ["compare", "first", "second", "--json"]).output)
    assert told["comparable"] is True
    assert told["figures"][0]["difference"]["videos"] == 3
    publish_two(tmp_path / "other", small_plan("e" * 64))
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "other"))
    failed = CliRunner().invoke(main, ["compare", "first", "second"])
    assert failed.exit_code == 1
    assert "first and second cannot be compared: different data sets" in failed.output


def test_what_was_not_measured_in_either_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    rows = figures("csim", {MODEL: [None]})
    comparison = Comparison(RUNS, (), compare_figures(RUNS, rows, rows), (), ())
    print_comparison(comparison, Console(width=120))
    assert "not measured" in capsys.readouterr().out
