"""How much worse, and how surely."""

import pytest
from scipy import stats

from evaluation.comparison.regression import Worsening, paired_worsening, unpaired_worsening
from evaluation.records import MODEL, MetricRecord
from tests.factories.report import figures


def series(*values: float | None) -> list[MetricRecord]:
    return figures("error", {MODEL: [None if value is None else float(value) for value in values]})


def test_paired_differences_give_students_interval_and_chance() -> None:
    # Differences 0.5, 1.5, 0.5, 1.5: mean 1, standard error 0.288675, t = 3.4641 of 3 degrees of freedom.
    found = paired_worsening(series(1, 2, 3, 4), series(1.5, 3.5, 3.5, 5.5), "lower")
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((1.0, 0.081307, 1.918693), abs=1e-5)
    assert found.chance == pytest.approx(stats.t.sf(3.4641016, 3))
    assert found.videos == 4


def test_more_is_worse_whatever_the_direction() -> None:
    higher = paired_worsening(series(1, 2, 3), series(2, 3.5, 4), "higher")
    lower = paired_worsening(series(1, 2, 3), series(2, 3.5, 4), "lower")
    assert higher is not None
    assert lower is not None
    assert (higher.mean, higher.low, higher.high) == pytest.approx((-lower.mean, -lower.high, -lower.low))  # type: ignore[operator]
    assert higher.chance == pytest.approx(1 - lower.chance)  # type: ignore[operator]


def test_without_noise_the_difference_itself_decides() -> None:
    assert paired_worsening(series(1, 2), series(2, 3), "lower") == Worsening(1.0, 1.0, 1.0, 0.0, 2)
    assert paired_worsening(series(1, 2), series(1, 2), "lower") == Worsening(0.0, 0.0, 0.0, 1.0, 2)
    assert unpaired_worsening(series(1, 1), series(2, 2), "lower") == Worsening(1.0, 1.0, 1.0, 0.0, 2)


def test_too_few_videos_give_no_interval_and_none_give_nothing() -> None:
    assert paired_worsening(series(1, None), series(2, 3), "lower") == Worsening(1.0, None, None, None, 1)
    assert unpaired_worsening(series(1, 2), series(4), "lower") == Worsening(2.5, None, None, None, 1)
    assert paired_worsening(series(1, None), series(None, 3), "lower") is None
    assert unpaired_worsening(series(1), series(None), "lower") is None


def test_unpaired_means_give_welchs_interval() -> None:
    # Variances 1 and 4 over three each: standard error sqrt(5 / 3), (5 / 3)² / (1 / 18 + 16 / 18) freedom.
    found = unpaired_worsening(series(1, 2, 3), series(3, 5, 7), "lower")
    assert found is not None
    half = (5 / 3) ** 0.5 * stats.t.ppf(0.975, 50 / 17)
    assert (found.mean, found.low, found.high) == pytest.approx((3.0, 3.0 - half, 3.0 + half))
    _, chance = stats.ttest_ind([3, 5, 7], [1, 2, 3], equal_var=False, alternative="greater")
    assert found.chance == pytest.approx(chance)
