"""The report's numbers, contests and tables."""

import math

import pytest

from evaluation.comparison.differences import PairedDifference, paired_difference
from evaluation.records import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL, OFFICIAL_PUBLISHED, summarise
from evaluation.report.contests import find_contests
from evaluation.report.matrix import MatrixCell, build_matrices
from evaluation.report.numbers import interval_text, number, summary_text
from evaluation.report.plots import interval_plot
from evaluation.report.tables import AHEAD, BEATS, IS_TRUTH, NO_TRUTH, build_tables
from tests.factories.report import metric_records


def test_a_figure_has_as_many_digits_as_its_interval_bears() -> None:
    assert interval_text(12.3456, 11.1, 13.6, "") == "12.3 ± 1.2"
    assert interval_text(0.98764, 0.98564, 0.98964, "dB") == "0.9876 ± 0.0020 dB"
    assert interval_text(1234.5, 1000.0, 1469.0, "") == "1234 ± 234"
    assert interval_text(2.0, None, None, "°") == "2.00 °"
    assert interval_text(-0.5, -0.75, -0.25, "", signed=True) == "\N{MINUS SIGN}0.50 ± 0.25"


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert number(-0.001, 2) == "0.00"
    assert number(0.001, 1, signed=True) == "+0.0"


def test_the_paired_difference_is_over_common_videos_alone() -> None:
    first = metric_records("m", {MODEL: [1.0, 2.0, 3.0, None]})
    second = metric_records("m", {COPY_PORTRAIT: [2.0, 4.0, 6.0, 100.0]})
    # Differences 1, 2, 3: t(0.975, 2) = 4.302653, standard error 1 / sqrt(3).
    half = 4.302653 / math.sqrt(3)
    found = paired_difference(first, second)
    assert found is not None
    assert (found.mean, found.videos) == (2.0, 3)
    assert found.low == pytest.approx(2.0 - half, abs=1e-5)
    assert found.high == pytest.approx(2.0 + half, abs=1e-5)
    assert not found.significant


def test_a_difference_of_one_video_has_no_interval_and_is_not_clear() -> None:
    one = paired_difference(metric_records("m", {MODEL: [1.0]}), metric_records("m", {COPY_PORTRAIT: [5.0]}))
    assert one is not None
    assert one == PairedDifference(4.0, None, None, 1)
    assert not one.significant


def test_without_common_videos_there_is_no_difference() -> None:
    assert (
        paired_difference(metric_records("m", {MODEL: [1.0]}), metric_records("m", {MODEL: [None]})) is None
    )


def test_paired_difference_with_duplicate_video_raises() -> None:
    twice = metric_records("m", {MODEL: [1.0]}) * 2
    with pytest.raises(ValueError, match="video 'self-00' has two values"):
        paired_difference(twice, twice)


@pytest.mark.parametrize(("direction", "ahead"), [("lower", True), ("higher", False)])
def test_who_is_ahead_depends_on_the_better_direction(direction: str, ahead: bool) -> None:
    rows = metric_records("m", {MODEL: [1.0, 1.1], COPY_PORTRAIT: [2.0, 2.2]}, direction=direction)  # type: ignore[arg-type]
    (contest,) = find_contests(rows)
    assert contest.model_ahead is ahead
    assert contest.baseline_ahead is not ahead
    assert contest.advantage == pytest.approx(1.05 if ahead else -1.05)


def test_who_is_ahead_is_told_by_common_videos_alone() -> None:
    rows = metric_records("error", {MODEL: [1.0, None, None], COPY_PORTRAIT: [0.5, 9.0, 9.0]}, task="cross")
    (contest,) = find_contests(rows)
    # The means are 1.0 and 6.2, but on the one video that both have the model is worse.
    assert contest.advantage == -0.5
    assert contest.baseline_ahead


def test_a_figure_that_does_not_judge_is_no_contest() -> None:
    rows = metric_records("offset", {MODEL: [1.0], COPY_PORTRAIT: [2.0]}, direction="neither")
    assert find_contests(rows) == []


def test_figures_of_another_scorer_are_no_rivals() -> None:
    rows = metric_records("m", {MODEL: [1.0]}, scorer="a") + metric_records(
        "m", {COPY_PORTRAIT: [2.0]}, scorer="b"
    )
    assert find_contests(rows) == []


def test_a_baseline_that_leads_is_marked_clearly_or_not() -> None:
    rows = metric_records("clear", {MODEL: [5.0, 6.0, 7.0], COPY_PORTRAIT: [1.0, 2.1, 3.0]}, task="cross")
    rows += metric_records("unclear", {MODEL: [5.0, 6.0, 7.0], COPY_PORTRAIT: [1.0, 9.0, 4.0]}, task="cross")
    rows += metric_records("won", {MODEL: [1.0, 2.0, 3.0], COPY_PORTRAIT: [5.0, 6.1, 7.0]}, task="cross")
    (table,) = build_tables(rows, scorers_apart=False)
    place = table.columns.index(COPY_PORTRAIT)
    lines = {line.metric: line for line in table.groups[0].lines}
    assert {name: line.cells[place].mark for name, line in lines.items()} == {
        "clear": BEATS,
        "unclear": AHEAD,
        "won": "",
    }
    assert {name for name, line in lines.items() if line.lost} == {"clear", "unclear"}


def test_the_copied_target_is_the_truth_in_self_reenactment_and_a_rival_elsewhere() -> None:
    values = {MODEL: [5.0, 6.0], COPY_TARGET: [1.0, 2.1]}
    marks = {
        task: build_tables(metric_records("m", values, task=task), scorers_apart=False)[0]
        for task in ("self", "cross")
    }
    place = marks["self"].columns.index(COPY_TARGET)
    assert marks["self"].groups[0].lines[0].cells[place].mark == IS_TRUTH
    assert marks["cross"].groups[0].lines[0].cells[place].mark == BEATS


def test_what_is_missing_says_why_once() -> None:
    rows = metric_records("a", {MODEL: [1.0, None], COPY_PORTRAIT: [None, None]}, task="cross")
    rows += metric_records("b", {MODEL: [1.0, None]}, task="cross")
    (table,) = build_tables(rows, scorers_apart=False)
    model, truth, portrait, _ = table.groups[0].lines[0].cells
    assert table.notes[model.notes[0] - 1] == "not measured for 1 of 2: no face"
    assert table.notes[portrait.notes[0] - 1] == "not measured: no face"
    assert table.notes[truth.notes[0] - 1] == NO_TRUTH
    assert len(table.notes) == len(set(table.notes))
    assert table.groups[0].lines[1].cells[0].notes == model.notes


def test_scorers_have_tables_of_their_own_where_they_measure_the_same() -> None:
    rows = metric_records("lse_c", {MODEL: [1.0]}, scorer="a") + metric_records(
        "lse_c", {MODEL: [9.0]}, scorer="b"
    )
    apart = build_tables(rows, scorers_apart=True)
    assert [[group.scorer for group in table.groups] for table in apart] == [["a"], ["b"]]
    together = build_tables(rows, scorers_apart=False)
    assert [[group.scorer for group in table.groups] for table in together] == [["a", "b"]]


def test_the_released_models_column_is_there_only_with_figures() -> None:
    without = build_tables(metric_records("m", {MODEL: [1.0]}), scorers_apart=False)
    assert without[0].columns == (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET)
    with_it = build_tables(
        metric_records("m", {MODEL: [1.0], OFFICIAL_PUBLISHED: [2.0]}), scorers_apart=False
    )
    assert with_it[0].columns[-1] == OFFICIAL_PUBLISHED


def test_a_matrix_is_scored_by_what_follows_less_what_leaks() -> None:
    def cell(driver: str, measure: str, correlation: float | None) -> MatrixCell:
        return MatrixCell(MODEL, "s", "control", driver, measure, correlation, None, correlation is None, 2)

    (matrix,) = build_matrices(
        [
            cell("pose", "yaw", 0.75),
            cell("pose", "blink", -0.25),
            cell("eye", "yaw", 0.125),
            cell("eye", "blink", 0.25),
            cell("eye", "pitch", None),
        ]
    )
    assert (matrix.drivers, matrix.measures) == (("pose", "eye"), ("pitch", "yaw", "blink"))
    assert matrix.lines[0][0] is None
    assert (matrix.follow, matrix.leak, matrix.score) == (0.5, 0.125, 0.375)
    assert matrix.measures_of("pose") == 2


def test_a_plot_tells_its_figures_in_words() -> None:
    summaries = summarise(metric_records("m<", {MODEL: [1.0, 3.0], COPY_PORTRAIT: [7.0]}))
    svg = interval_plot("m<", summaries)
    assert f'aria-label="m&lt;: {MODEL} {summary_text(summaries[0])}; {COPY_PORTRAIT} 7.00"' in svg


def test_one_mean_is_no_plot() -> None:
    assert interval_plot("m", summarise(metric_records("m", {MODEL: [1.0], COPY_PORTRAIT: [None]}))) == ""
