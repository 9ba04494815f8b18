"""A run held against the accepted one: figures made by hand, of which it is known what is worse."""

from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from evaluation.comparison.against_baseline import (
    AcceptanceSettings,
    AgainstAccepted,
    compare_evaluated,
    hold_against_accepted,
)
from evaluation.comparison.baseline_runs import accept_run
from evaluation.comparison.text import markdown_table, verdict_text, worse_lines
from evaluation.records import COPY_PORTRAIT, MODEL, Direction, MetricRecord
from tests.factories.acceptance import evaluated, publish_report
from tests.factories.report import figures, small_plan

ACCEPTED = (10.0, 20.0, 30.0, 40.0)
WORSE_BY_ONE = (11.1, 20.9, 31.0, 41.0)  # 1.00 ± 0.13: 4 % of 25


def series(
    *values: float | None, metric: str = "error", direction: Direction = "lower"
) -> list[MetricRecord]:
    told = [None if value is None else float(value) for value in values]
    return figures(metric, {MODEL: told}, unit="px", direction=direction)


def compare(
    accepted: list[MetricRecord], new: list[MetricRecord], tolerance: float = 0.03, metrics: str = ""
) -> AgainstAccepted:
    settings = AcceptanceSettings(tolerance, metrics)
    return compare_evaluated(evaluated(accepted, "old"), evaluated(new), settings)


def names_of(against: AgainstAccepted) -> list[str]:
    return [one.key.metric for one in against.worse]


def test_worse_is_what_exceeds_the_tolerance_and_clearly() -> None:
    (figure,) = compare(series(*ACCEPTED), series(*WORSE_BY_ONE)).worse
    assert figure.worsening.mean == pytest.approx(1.0)
    assert figure.worsening.low == pytest.approx(1.0 - 3.18245 * 0.0408248, abs=1e-5)
    assert not compare(series(*ACCEPTED), series(*WORSE_BY_ONE), tolerance=0.05).worse
    unclear = series(20.0, 10.0, 50.0, 30.0)  # 10, -10, 20, -10: worse by 2.5 ± 24
    assert not compare(series(*ACCEPTED), unclear).worse


def test_equal_and_better_runs_pass_whatever_the_direction() -> None:
    cases: tuple[tuple[Direction, tuple[float, ...]], ...] = (
        ("lower", (9.0, 18.9, 29.0, 39.1)),
        ("higher", WORSE_BY_ONE),
    )
    for better, values in cases:
        against = compare(series(*ACCEPTED, direction=better), series(*values, direction=better))
        assert (against.judged, against.worse) == (1, ())
    assert not compare(series(*ACCEPTED), series(*ACCEPTED), tolerance=0.0).worse
    assert names_of(
        compare(series(*WORSE_BY_ONE, direction="higher"), series(*ACCEPTED, direction="higher"))
    ) == ["error"]


def test_a_negative_mean_is_measured_by_its_magnitude() -> None:
    accepted, new = (-0.5, -0.6, -0.4), (-0.56, -0.66, -0.46)  # 12 % of 0.5 lower
    assert names_of(
        compare(series(*accepted, direction="higher"), series(*new, direction="higher"), tolerance=0.1)
    ) == ["error"]
    assert not compare(
        series(*accepted, direction="higher"), series(*new, direction="higher"), tolerance=0.13
    ).worse


def test_what_one_of_many_figures_shows_by_noise_is_not_worse() -> None:
    # Worse by 1.00 ± 0.92: a chance of one in fifty, which among twenty figures is nothing.
    accepted, new = series(1, 2, 3, 4, metric="first"), series(1.5, 3.5, 3.5, 5.5, metric="first")
    others = [row for number in range(19) for row in series(5, 6, 7, 8, metric=f"other {number}")]
    assert names_of(compare(accepted, new)) == ["first"]
    assert names_of(compare([*accepted, *others], [*new, *others])) == []
    assert names_of(compare([*accepted, *others], [*new, *others], metrics="first, other 3")) == ["first"]


def test_only_the_models_figures_with_a_direction_count() -> None:
    rest = [
        *figures("error", {COPY_PORTRAIT: [1.0, 2.0, 3.0]}),
        *series(1, 2, 3, metric="offset", direction="neither"),
        *series(1, 2, 3, metric="control_change_lip_mouth_opening"),
    ]
    worse = [replace(row, value=100.0) for row in rest]
    against = compare([*series(*ACCEPTED), *rest], [*series(*ACCEPTED), *worse])
    assert [one.key.metric for one in against.figures] == ["error"]


def test_figures_of_one_number_are_shown_and_not_judged(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    publish_report(root, "old", [*series(*ACCEPTED), *series(1.0, metric="fid")])
    accept_run(root, "old", "why")
    publish_report(root, "new", [*series(*ACCEPTED), *series(9.0, metric="fid")])
    against = hold_against_accepted(root, "new", AcceptanceSettings())
    assert (len(against.figures), against.judged, against.passed) == (2, 1, True)
    assert "1 figures have no interval and are not judged" in verdict_text(against)
    assert (
        "| fid (self, mediapipe_mesh), px | 1.00 | 9.00 | 8.00 (800 %) | 1 | not judged |"
        in markdown_table(against)
    )


def test_without_an_accepted_run_everything_passes_and_the_way_to_accept_is_told(tmp_path: Path) -> None:
    publish_report(UPath(tmp_path), "new", series(*ACCEPTED))
    against = hold_against_accepted(UPath(tmp_path), "new", AcceptanceSettings())
    assert against.passed
    assert "`pdfgc accept new --note WHY`" in verdict_text(against)


def test_a_worse_run_is_told_with_both_means_and_the_difference(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    publish_report(root, "old", series(*ACCEPTED))
    accepted = accept_run(root, "old", "why")
    publish_report(root, "new", series(*WORSE_BY_ONE))
    against = hold_against_accepted(root, "new", AcceptanceSettings(tolerance=0.03))
    assert not against.passed
    line = "error (self, mediapipe_mesh) 25 ± 21 to 26 ± 21 px, worse by 1.00 ± 0.13 (4 %) over 4 videos"
    assert worse_lines(against) == (line,)
    minute = accepted.accepted_at[:16].replace("T", " ")
    assert verdict_text(against) == (
        f"worse than run 'old', accepted {minute} UTC, in 1 of 1 figures, paired by video: {line}"
    )


def test_figures_that_are_gone_or_of_another_scorer_or_unit_are_told_and_not_judged() -> None:
    scored = figures("lse_c", {MODEL: [1.0, 2.0]}, scorer="lip_encoders:old:0", direction="higher")
    again = figures("lse_c", {MODEL: [0.1, 0.2]}, scorer="lip_encoders:new:1", direction="higher")
    accepted = [*series(*ACCEPTED), *scored, *series(1, 2, metric="gone"), *series(1, 2, metric="turned")]
    turned = figures("turned", {MODEL: [1.0, 2.0]}, unit="rad")
    new = [*series(*ACCEPTED), *again, *series(None, None, metric="gone"), *turned]
    against = compare(accepted, new)
    assert [one.key.metric for one in against.figures] == ["error"]
    assert against.missing == (
        "lse_c (self, lip_encoders:old:0)",
        "gone (self, mediapipe_mesh)",
        "turned (self, mediapipe_mesh), which was in px, lower is better",
    )


def test_where_nothing_can_be_compared_the_run_does_not_pass(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    publish_report(root, "old", series(*ACCEPTED, metric="psnr_64px"))
    accept_run(root, "old", "why")
    publish_report(root, "new", series(*ACCEPTED, metric="psnr_256px"))
    against = hold_against_accepted(root, "new", AcceptanceSettings())
    assert not against.passed
    assert verdict_text(against).startswith("nothing can be compared with run 'old'")


def test_other_videos_are_compared_by_their_means_and_marked_so(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    publish_report(root, "old", series(*ACCEPTED))
    accepted = accept_run(root, "old", "why")
    publish_report(root, "new", series(*WORSE_BY_ONE), plan=small_plan("e" * 64))
    against = hold_against_accepted(root, "new", AcceptanceSettings(tolerance=0.0))
    assert against.passed  # worse by 1 ± 22
    assert against.figures[0].worsening.low == pytest.approx(1 - 2.44691 * 9.11968, abs=1e-3)
    told = verdict_text(against)
    assert "1 figures compared, means of different videos" in told
    assert "not the same videos (different data sets: clips are drawn from dddddddddddddddd" in told
    assert f"--protocol-file {accepted.folder}/reenactment_plan.json" in told
    far = series(110.0, 120.0, 130.0, 140.0)
    publish_report(root, "new", far, plan=small_plan("e" * 64))
    assert not hold_against_accepted(root, "new", AcceptanceSettings()).passed


def test_a_metric_that_nobody_measures_is_named() -> None:
    with pytest.raises(ValueError, match="no figures of errror in either run; there are error"):
        compare(series(*ACCEPTED), series(*ACCEPTED), metrics="errror")


@pytest.mark.parametrize("tolerance", [-0.01, 10.1, float("nan")])
def test_a_tolerance_out_of_its_bounds_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match=f"tolerance is {tolerance}, need 0 to 10"):
        AcceptanceSettings(tolerance=tolerance)
