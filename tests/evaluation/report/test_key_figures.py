"""The ten figures of the first screen, from records and cells with known values."""

from collections.abc import Sequence

import pytest

from evaluation.records import COPY_PORTRAIT, COPY_TARGET, MODEL, MetricRecord
from evaluation.report.key_figures import FigureBook, KeyFigure, verdict
from evaluation.report.matrix import MatrixCell
from evaluation.report.numbers import NO_VALUE
from evaluation.report.results import derive_results
from tests.factories.evaluation.report import matrix_cells, metric_records


def named(
    name: str,
    records: Sequence[MetricRecord],
    cells: Sequence[MatrixCell] = (),
    advice: str = ": train longer",
) -> KeyFigure:
    figures = FigureBook(derive_results(records), cells, advice).figures()
    assert len(figures) == 10
    (figure,) = [figure for figure in figures if figure.name == name]
    return figure


def faces(share: float) -> list[MetricRecord]:
    return metric_records(
        "face_found_share",
        {MODEL: [share, share], COPY_PORTRAIT: [1.0, 1.0]},
        task="cross",
        direction="higher",
    )


def own_cell(correlation: float | None, gain: float | None, *, still: bool = False) -> MatrixCell:
    return MatrixCell(MODEL, "mediapipe_mesh", "control_follow", "pose", "yaw", correlation, gain, still, 2)


def test_face_figure_says_how_many_frames_lack_one() -> None:
    figure = named("frames with a face", faces(0.67))
    assert figure.meaning == "no face is found in 33 % of frames: train longer"
    assert (figure.texts[MODEL], figure.texts[COPY_PORTRAIT], figure.texts[COPY_TARGET]) == (
        "67 %",
        "100 %",
        NO_VALUE,
    )
    assert named("frames with a face", faces(0.67), advice="").meaning == "no face is found in 33 % of frames"
    assert named("frames with a face", faces(1.0)).meaning == "a face in every frame"


@pytest.mark.parametrize(
    ("cell", "text", "meaning"),
    [
        (own_cell(0.9, 0.8), ".90 \N{MULTIPLICATION SIGN}.80", "follows its driver"),
        (own_cell(0.9, 0.4), ".90 \N{MULTIPLICATION SIGN}.40", "follows its driver, moves 40 % as far"),
        (own_cell(0.6, 0.9), ".60 \N{MULTIPLICATION SIGN}.90", "follows its driver roughly"),
        (own_cell(0.3, 0.1), ".30 \N{MULTIPLICATION SIGN}.10", "follows its driver weakly"),
        (own_cell(0.1, 0.1), ".10 \N{MULTIPLICATION SIGN}.10", "does not follow its driver: train longer"),
        (own_cell(None, None, still=True), ".00", "does not follow its driver: train longer"),
    ],
)
def test_followed_figure_puts_correlation_in_words(cell: MatrixCell, text: str, meaning: str) -> None:
    figure = named("head turns (yaw)", [], [cell])
    assert (figure.texts[MODEL], figure.meaning) == (text, meaning)


def test_followed_figure_falls_back_to_the_mean_over_videos() -> None:
    records = metric_records("yaw_correlation", {MODEL: [0.8, 0.9]}, direction="higher")
    assert named("head turns (yaw)", records).texts[MODEL] == ".85"


def test_followed_figure_does_not_mix_self_videos_with_the_matrix() -> None:
    records = metric_records("smile_correlation", {MODEL: [1.0, 1.0]}, direction="higher")
    assert named("smile", records).texts[MODEL] == "1.00"
    assert named("smile", records, [own_cell(0.9, 0.9)]).meaning == "not measured: no such videos"


def test_unmeasured_figure_gives_its_reason() -> None:
    records = metric_records("smile_correlation", {MODEL: [None]}, because="no expression driver")
    figure = named("smile", records)
    assert (figure.meaning, figure.tone) == ("not measured: no expression driver", "none")


def test_leak_figure_names_the_largest_cell() -> None:
    leaking = MatrixCell(MODEL, "mediapipe_mesh", "control_follow", "pose", "smile", -0.6, -0.2, False, 2)
    figure = named("largest leak", [], [own_cell(0.9, 0.9), leaking])
    assert (figure.texts[MODEL], figure.meaning) == (".60", "the pose driver also moves smile")


def test_verdict_names_what_follows_and_what_does_not() -> None:
    figures = FigureBook(derive_results(faces(0.67)), [own_cell(0.9, 0.9)]).figures()
    assert verdict(figures) == (
        "No face is found in 33 % of frames: train longer; follows its driver in head turns (yaw)."
    )
    assert verdict(FigureBook(derive_results([]), ()).figures()).startswith(
        "Nothing that this page summarises"
    )


def test_score_figure_is_follow_minus_leak() -> None:
    # .8 on the diagonal and .1 off it, as wide for the still portrait.
    figure = named("control score", [], matrix_cells())
    assert figure.texts == {MODEL: ".70", COPY_PORTRAIT: ".70", COPY_TARGET: NO_VALUE}
    assert figure.meaning == "no better than a still picture: train longer"
