"""Regression checks on records with known differences."""

from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from evaluation.comparison.baseline_runs import set_baseline_run
from evaluation.comparison.regressions import (
    BaselineSettings,
    RegressionCheck,
    check_regressions,
    compare_with_baseline,
)
from evaluation.comparison.text import check_text, markdown_table, regression_lines
from evaluation.records import COPY_PORTRAIT, MODEL, Direction, MetricRecord
from tests.factories.evaluation.published_reports import evaluated, publish_report
from tests.factories.evaluation.report import metric_records, small_plan

BASELINE = (10.0, 20.0, 30.0, 40.0)
WORSE_BY_ONE = (11.1, 20.9, 31.0, 41.0)  # 1.00 ± 0.13: 4 % of 25


def series(
    *values: float | None, metric: str = "error", direction: Direction = "lower"
) -> list[MetricRecord]:
    floats = [None if value is None else float(value) for value in values]
    return metric_records(metric, {MODEL: floats}, unit="px", direction=direction)


def compare(
    baseline: list[MetricRecord], new: list[MetricRecord], tolerance: float = 0.03, metrics: str = ""
) -> RegressionCheck:
    settings = BaselineSettings(tolerance=tolerance, metrics=metrics)
    return check_regressions(evaluated(baseline, "old"), evaluated(new), settings)


def names_of(check: RegressionCheck) -> list[str]:
    return [metric.key.metric for metric in check.regressions]


def test_regression_exceeds_tolerance_and_is_significant() -> None:
    (metric,) = compare(series(*BASELINE), series(*WORSE_BY_ONE)).regressions
    assert metric.regression.mean == pytest.approx(1.0)
    assert metric.regression.low == pytest.approx(1.0 - 3.18245 * 0.0408248, abs=1e-5)
    assert not compare(series(*BASELINE), series(*WORSE_BY_ONE), tolerance=0.05).regressions
    insignificant = series(20.0, 10.0, 50.0, 30.0)  # 10, -10, 20, -10: worse by 2.5 ± 24
    assert not compare(series(*BASELINE), insignificant).regressions


def test_equal_and_better_runs_pass_in_both_directions() -> None:
    cases: tuple[tuple[Direction, tuple[float, ...]], ...] = (
        ("lower", (9.0, 18.9, 29.0, 39.1)),
        ("higher", WORSE_BY_ONE),
    )
    for better, values in cases:
        check = compare(series(*BASELINE, direction=better), series(*values, direction=better))
        assert (check.tested, check.regressions) == (1, ())
    assert not compare(series(*BASELINE), series(*BASELINE), tolerance=0.0).regressions
    assert names_of(
        compare(series(*WORSE_BY_ONE, direction="higher"), series(*BASELINE, direction="higher"))
    ) == ["error"]


def test_tolerance_is_relative_to_the_magnitude_of_the_mean() -> None:
    baseline, new = (-0.5, -0.6, -0.4), (-0.56, -0.66, -0.46)  # 12 % of 0.5 lower
    assert names_of(
        compare(series(*baseline, direction="higher"), series(*new, direction="higher"), tolerance=0.1)
    ) == ["error"]
    assert not compare(
        series(*baseline, direction="higher"), series(*new, direction="higher"), tolerance=0.13
    ).regressions


def test_many_metrics_are_corrected_for_multiple_testing() -> None:
    # Worse by 1.00 ± 0.92: p = 0.02, not significant among twenty metrics.
    baseline, new = series(1, 2, 3, 4, metric="first"), series(1.5, 3.5, 3.5, 5.5, metric="first")
    others = [record for number in range(19) for record in series(5, 6, 7, 8, metric=f"other {number}")]
    assert names_of(compare(baseline, new)) == ["first"]
    assert names_of(compare([*baseline, *others], [*new, *others])) == []
    assert names_of(compare([*baseline, *others], [*new, *others], metrics="first, other 3")) == ["first"]


def test_only_metrics_of_the_model_with_a_direction_count() -> None:
    rest = [
        *metric_records("error", {COPY_PORTRAIT: [1.0, 2.0, 3.0]}),
        *series(1, 2, 3, metric="offset", direction="neither"),
        *series(1, 2, 3, metric="control_change_lip_mouth_opening"),
    ]
    worse = [replace(record, value=100.0) for record in rest]
    check = compare([*series(*BASELINE), *rest], [*series(*BASELINE), *worse])
    assert [metric.key.metric for metric in check.metrics] == ["error"]


def test_metrics_without_interval_are_shown_but_not_tested(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    publish_report(root, "old", [*series(*BASELINE), *series(1.0, metric="fid")])
    set_baseline_run(root, "old", "why")
    publish_report(root, "new", [*series(*BASELINE), *series(9.0, metric="fid")])
    check = compare_with_baseline(root, "new", BaselineSettings())
    assert (len(check.metrics), check.tested, check.passed) == (2, 1, True)
    assert "not tested, no interval: 1 metric" in check_text(check)
    assert (
        "| fid (self, mediapipe_mesh), px | 1.00 | 9.00 | 8.00 (800 %) | 1 | not tested |"
        in markdown_table(check)
    )


def test_check_passes_without_a_baseline_run(tmp_path: Path) -> None:
    publish_report(UPath(tmp_path), "new", series(*BASELINE))
    check = compare_with_baseline(UPath(tmp_path), "new", BaselineSettings())
    assert check.passed
    assert "pdfgc baseline set new --note WHY" in check_text(check)


def test_regression_text_has_both_means_and_the_difference(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    publish_report(root, "old", series(*BASELINE))
    baseline = set_baseline_run(root, "old", "why")
    publish_report(root, "new", series(*WORSE_BY_ONE))
    check = compare_with_baseline(root, "new", BaselineSettings(tolerance=0.03))
    assert not check.passed
    line = "error (self, mediapipe_mesh) 25 ± 21 to 26 ± 21 px, worse by 1.00 ± 0.13 (4 %) over 4 videos"
    assert regression_lines(check) == (line,)
    minute = baseline.set_at[:16].replace("T", " ")
    assert check_text(check) == (
        f"regression against baseline run 'old' of {minute} UTC in 1 of 1 metric, paired by video: {line}"
    )


def test_missing_metrics_are_listed_and_not_tested() -> None:
    scored = metric_records("lse_c", {MODEL: [1.0, 2.0]}, scorer="lip_encoders:old:0", direction="higher")
    again = metric_records("lse_c", {MODEL: [0.1, 0.2]}, scorer="lip_encoders:new:1", direction="higher")
    baseline = [*series(*BASELINE), *scored, *series(1, 2, metric="gone"), *series(1, 2, metric="turned")]
    turned = metric_records("turned", {MODEL: [1.0, 2.0]}, unit="rad")
    new = [*series(*BASELINE), *again, *series(None, None, metric="gone"), *turned]
    check = compare(baseline, new)
    assert [metric.key.metric for metric in check.metrics] == ["error"]
    assert check.missing == (
        "lse_c (self, lip_encoders:old:0)",
        "gone (self, mediapipe_mesh)",
        "turned (self, mediapipe_mesh) (baseline run: px, lower is better)",
    )


def test_check_fails_if_no_metric_can_be_compared(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    publish_report(root, "old", series(*BASELINE, metric="psnr_64px"))
    set_baseline_run(root, "old", "why")
    publish_report(root, "new", series(*BASELINE, metric="psnr_256px"))
    check = compare_with_baseline(root, "new", BaselineSettings())
    assert not check.passed
    assert check_text(check).startswith("cannot be compared with baseline run 'old'")


def test_different_videos_are_compared_by_their_means(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    publish_report(root, "old", series(*BASELINE))
    baseline = set_baseline_run(root, "old", "why")
    publish_report(root, "new", series(*WORSE_BY_ONE), plan=small_plan("e" * 64))
    check = compare_with_baseline(root, "new", BaselineSettings(tolerance=0.0))
    assert check.passed  # worse by 1 ± 22
    assert check.metrics[0].regression.low == pytest.approx(1 - 2.44691 * 9.11968, abs=1e-3)
    text = check_text(check)
    assert "1 metric compared, means of different videos" in text
    assert "not the same videos (different data sets: dddddddddddddddd" in text
    assert f"--plan-file {baseline.folder}/reenactment_plan.json" in text
    far = series(110.0, 120.0, 130.0, 140.0)
    publish_report(root, "new", far, plan=small_plan("e" * 64))
    assert not compare_with_baseline(root, "new", BaselineSettings()).passed


def test_unknown_metric_raises() -> None:
    with pytest.raises(ValueError, match="unknown metrics errror; the runs have error"):
        compare(series(*BASELINE), series(*BASELINE), metrics="errror")


@pytest.mark.parametrize("tolerance", [-0.01, 10.1, float("nan")])
def test_tolerance_out_of_bounds_raises(tolerance: float) -> None:
    with pytest.raises(ValueError, match=f"tolerance must be .*, got {tolerance}"):
        BaselineSettings(tolerance=tolerance)
