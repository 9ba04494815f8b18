"""Differences, regressions, their intervals and p-values."""

import pytest
from scipy import stats

from evaluation.comparison.differences import Regression, paired_regression, unpaired_regression
from evaluation.records import MODEL, MetricRecord
from tests.factories.evaluation.report import metric_records


def series(*values: float | None) -> list[MetricRecord]:
    return metric_records("error", {MODEL: [None if value is None else float(value) for value in values]})


def test_paired_regression_has_student_interval_and_p_value() -> None:
    # Differences 0.5, 1.5, 0.5, 1.5: mean 1, standard error 0.288675, t = 3.4641 with 3 degrees of freedom.
    regression = paired_regression(series(1, 2, 3, 4), series(1.5, 3.5, 3.5, 5.5), "lower")
    assert regression is not None
    assert (regression.mean, regression.low, regression.high) == pytest.approx(
        (1.0, 0.081307, 1.918693), abs=1e-5
    )
    assert regression.p_value == pytest.approx(stats.t.sf(3.4641016, 3))
    assert regression.videos == 4


def test_regression_is_positive_if_worse_in_both_directions() -> None:
    higher = paired_regression(series(1, 2, 3), series(2, 3.5, 4), "higher")
    lower = paired_regression(series(1, 2, 3), series(2, 3.5, 4), "lower")
    assert higher is not None
    assert lower is not None
    assert (higher.mean, higher.low, higher.high) == pytest.approx((-lower.mean, -lower.high, -lower.low))  # type: ignore[operator]
    assert higher.p_value == pytest.approx(1 - lower.p_value)  # type: ignore[operator]


def test_regression_without_variance_depends_on_the_sign() -> None:
    assert paired_regression(series(1, 2), series(2, 3), "lower") == Regression(1.0, 1.0, 1.0, 0.0, 2)
    assert paired_regression(series(1, 2), series(1, 2), "lower") == Regression(0.0, 0.0, 0.0, 1.0, 2)
    assert unpaired_regression(series(1, 1), series(2, 2), "lower") == Regression(1.0, 1.0, 1.0, 0.0, 2)


def test_regression_of_too_few_videos_has_no_interval() -> None:
    assert paired_regression(series(1, None), series(2, 3), "lower") == Regression(1.0, None, None, None, 1)
    assert unpaired_regression(series(1, 2), series(4), "lower") == Regression(2.5, None, None, None, 1)
    assert paired_regression(series(1, None), series(None, 3), "lower") is None
    assert unpaired_regression(series(1), series(None), "lower") is None


def test_unpaired_regression_has_welch_interval() -> None:
    # Variances 1 and 4, three values each: standard error sqrt(5 / 3),
    # (5 / 3)² / (1 / 18 + 16 / 18) degrees of freedom.
    regression = unpaired_regression(series(1, 2, 3), series(3, 5, 7), "lower")
    assert regression is not None
    half = (5 / 3) ** 0.5 * stats.t.ppf(0.975, 50 / 17)
    assert (regression.mean, regression.low, regression.high) == pytest.approx((3.0, 3.0 - half, 3.0 + half))
    _, p_value = stats.ttest_ind([3, 5, 7], [1, 2, 3], equal_var=False, alternative="greater")
    assert regression.p_value == pytest.approx(p_value)
