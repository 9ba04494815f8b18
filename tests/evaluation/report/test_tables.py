"""Numbers, comparisons, tables, matrices and plots of the report."""

import math

import pytest

from evaluation.comparison.differences import PairedDifference, paired_difference
from evaluation.records import (
    COPY_PORTRAIT,
    COPY_TARGET,
    GROUND_TRUTH,
    MODEL,
    OFFICIAL_PUBLISHED,
    MetricRecord,
    summarise,
)
from evaluation.report.matrix import MatrixCell, build_matrices
from evaluation.report.numbers import interval_text, number, summary_text
from evaluation.report.page import interval_plot
from evaluation.report.results import AHEAD, BEATS, UPPER_BOUND, BaselineComparison, derive_results
from evaluation.report.tables import NO_GROUND_TRUTH, ReportTable, build_tables
from tests.factories.evaluation.report import metric_records


def compare(records: list[MetricRecord]) -> list[BaselineComparison]:
    return list(derive_results(records).comparisons.values())


def tables_of(records: list[MetricRecord], *, table_per_scorer: bool = False) -> list[ReportTable]:
    return build_tables(derive_results(records), table_per_scorer=table_per_scorer)


def test_interval_text_digits_follow_the_interval() -> None:
    assert interval_text(12.3456, 11.1, 13.6, "") == "12.3 ± 1.2"
    assert interval_text(0.98764, 0.98564, 0.98964, "dB") == "0.9876 ± 0.0020 dB"
    assert interval_text(1234.5, 1000.0, 1469.0, "") == "1234 ± 234"
    assert interval_text(2.0, None, None, "°") == "2.00 °"
    assert interval_text(-0.5, -0.75, -0.25, "", signed=True) == "\N{MINUS SIGN}0.50 ± 0.25"


def test_number_that_rounds_to_zero_has_no_minus() -> None:
    assert number(-0.001, 2) == "0.00"
    assert number(0.001, 1, signed=True) == "+0.0"


def test_paired_difference_uses_common_videos() -> None:
    first = metric_records("m", {MODEL: [1.0, 2.0, 3.0, None]})
    second = metric_records("m", {COPY_PORTRAIT: [2.0, 4.0, 6.0, 100.0]})
    # Differences 1, 2, 3: t(0.975, 2) = 4.302653, standard error 1 / sqrt(3).
    half = 4.302653 / math.sqrt(3)
    difference = paired_difference(first, second)
    assert difference is not None
    assert (difference.mean, difference.videos) == (2.0, 3)
    assert difference.low == pytest.approx(2.0 - half, abs=1e-5)
    assert difference.high == pytest.approx(2.0 + half, abs=1e-5)
    assert not difference.significant


def test_paired_difference_of_one_video_has_no_interval() -> None:
    model, portrait = metric_records("m", {MODEL: [1.0]}), metric_records("m", {COPY_PORTRAIT: [5.0]})
    difference = paired_difference(model, portrait)
    assert difference is not None
    assert difference == PairedDifference(4.0, None, None, 1)
    assert not difference.significant


def test_paired_difference_without_common_videos_is_none() -> None:
    assert (
        paired_difference(metric_records("m", {MODEL: [1.0]}), metric_records("m", {MODEL: [None]})) is None
    )


def test_paired_difference_with_duplicate_video_raises() -> None:
    twice = metric_records("m", {MODEL: [1.0]}) * 2
    with pytest.raises(ValueError, match="video 'self-00' has two values"):
        paired_difference(twice, twice)


@pytest.mark.parametrize(("direction", "ahead"), [("lower", True), ("higher", False)])
def test_comparison_depends_on_the_direction(direction: str, ahead: bool) -> None:
    records = metric_records("m", {MODEL: [1.0, 1.1], COPY_PORTRAIT: [2.0, 2.2]}, direction=direction)  # type: ignore[arg-type]
    (comparison,) = compare(records)
    assert comparison.model_ahead is ahead
    assert comparison.baseline_ahead is not ahead
    assert comparison.advantage == pytest.approx(1.05 if ahead else -1.05)


def test_comparison_uses_common_videos() -> None:
    records = metric_records(
        "error", {MODEL: [1.0, None, None], COPY_PORTRAIT: [0.5, 9.0, 9.0]}, task="cross"
    )
    (comparison,) = compare(records)
    # The means are 1.0 and 6.2, but on the one video that both have the model is worse.
    assert comparison.advantage == -0.5
    assert comparison.baseline_ahead


def test_metric_without_direction_is_not_compared() -> None:
    records = metric_records("offset", {MODEL: [1.0], COPY_PORTRAIT: [2.0]}, direction="neither")
    assert compare(records) == []


def test_records_of_other_scorers_are_not_compared() -> None:
    records = metric_records("m", {MODEL: [1.0]}, scorer="a") + metric_records(
        "m", {COPY_PORTRAIT: [2.0]}, scorer="b"
    )
    assert compare(records) == []


def test_leading_baseline_is_marked_by_significance() -> None:
    records = metric_records(
        "significant", {MODEL: [5.0, 6.0, 7.0], COPY_PORTRAIT: [1.0, 2.1, 3.0]}, task="cross"
    )
    records += metric_records(
        "insignificant", {MODEL: [5.0, 6.0, 7.0], COPY_PORTRAIT: [1.0, 9.0, 4.0]}, task="cross"
    )
    records += metric_records(
        "model ahead", {MODEL: [1.0, 2.0, 3.0], COPY_PORTRAIT: [5.0, 6.1, 7.0]}, task="cross"
    )
    (table,) = tables_of(records)
    place = table.columns.index(COPY_PORTRAIT)
    rows = {row.metric: row for row in table.groups[0].rows}
    assert {name: row.cells[place].mark for name, row in rows.items()} == {
        "significant": BEATS,
        "insignificant": AHEAD,
        "model ahead": "",
    }
    assert {name for name, row in rows.items() if row.baseline_ahead} == {"significant", "insignificant"}


def test_copied_target_is_an_upper_bound_in_self_reenactment() -> None:
    values = {MODEL: [5.0, 6.0], COPY_TARGET: [1.0, 2.1]}
    marks = {task: tables_of(metric_records("m", values, task=task))[0] for task in ("self", "cross")}
    place = marks["self"].columns.index(COPY_TARGET)
    assert marks["self"].groups[0].rows[0].cells[place].mark == UPPER_BOUND
    assert marks["cross"].groups[0].rows[0].cells[place].mark == BEATS


def test_missing_values_have_one_note_per_reason() -> None:
    records = metric_records("a", {MODEL: [1.0, None], COPY_PORTRAIT: [None, None]}, task="cross")
    records += metric_records("b", {MODEL: [1.0, None]}, task="cross")
    (table,) = tables_of(records)
    model, truth, portrait, _ = table.groups[0].rows[0].cells
    assert table.notes[model.notes[0] - 1] == "missing for 1 of 2: no face"
    assert table.notes[portrait.notes[0] - 1] == "not measured: no face"
    assert table.notes[truth.notes[0] - 1] == NO_GROUND_TRUTH
    assert len(table.notes) == len(set(table.notes))
    assert table.groups[0].rows[1].cells[0].notes == model.notes


def test_table_per_scorer_separates_scorers() -> None:
    records = metric_records("lse_c", {MODEL: [1.0]}, scorer="a") + metric_records(
        "lse_c", {MODEL: [9.0]}, scorer="b"
    )
    apart = tables_of(records, table_per_scorer=True)
    assert [[group.scorer for group in table.groups] for table in apart] == [["a"], ["b"]]
    together = tables_of(records)
    assert [[group.scorer for group in table.groups] for table in together] == [["a", "b"]]


def test_released_model_has_a_column_only_with_records() -> None:
    without = tables_of(metric_records("m", {MODEL: [1.0]}))
    assert without[0].columns == (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET)
    with_it = tables_of(metric_records("m", {MODEL: [1.0], OFFICIAL_PUBLISHED: [2.0]}))
    assert with_it[0].columns[-1] == OFFICIAL_PUBLISHED


def test_matrix_score_is_follow_minus_leak() -> None:
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
    assert matrix.rows[0][0] is None
    assert (matrix.follow, matrix.leak, matrix.score) == (0.5, 0.125, 0.375)
    assert matrix.measures_of("pose") == 2


def test_interval_plot_has_a_text_label() -> None:
    summaries = summarise(metric_records("m<", {MODEL: [1.0, 3.0], COPY_PORTRAIT: [7.0]}))
    svg = interval_plot("m<", summaries)
    assert f'aria-label="m&lt;: {MODEL} {summary_text(summaries[0])}; {COPY_PORTRAIT} 7.00"' in svg


def test_interval_plot_of_one_mean_is_empty() -> None:
    assert interval_plot("m", summarise(metric_records("m", {MODEL: [1.0], COPY_PORTRAIT: [None]}))) == ""
