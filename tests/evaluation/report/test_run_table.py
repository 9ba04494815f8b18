"""Evaluated runs side by side in a short table."""

from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from evaluation.metrics.control.matrix import FOLLOW
from evaluation.records import COPY_PORTRAIT, MODEL, MetricRecord
from evaluation.report.judges import MEDIAPIPE, find_judges
from evaluation.report.matrix import MatrixCell
from evaluation.report.numbers import NO_VALUE
from evaluation.report.page import DemoPage, Fact, render_demo
from evaluation.report.run_table import RELEASED_FIGURES, ROWS, WIDTH, run_table
from tests.factories.evaluation.head_files import publish_toy_run
from tests.factories.evaluation.report import metric_records, publish_evaluations, small_plan

MISSING = "the clips' ground truth is not known: they were not rendered"


def cell(
    method: str,
    driver: str,
    measure: str,
    correlation: float | None,
    *,
    gain: float = 0.5,
    still: bool = False,
) -> MatrixCell:
    slope = None if correlation is None else gain
    return MatrixCell(method, "mediapipe_mesh", FOLLOW, driver, measure, correlation, slope, still, 3)


CELLS = [
    cell(MODEL, "pose", "yaw", 0.9),
    cell(MODEL, "lip", "mouth_opening", None, still=True),
    cell(MODEL, "lip", "smile", -0.42),
    cell(MODEL, "eye", "yaw", 0.2, gain=0.6),
    cell(COPY_PORTRAIT, "pose", "yaw", None, still=True),
]
RECORDS: list[MetricRecord] = [
    *metric_records("face_found_share", {MODEL: [0.5, 1.0], COPY_PORTRAIT: [1.0, 1.0]}, task="cross"),
    *metric_records("psnr_64px", {MODEL: [18.0, 20.0], COPY_PORTRAIT: [15.0, 15.2]}, scorer="torchmetrics"),
    *metric_records(
        "psnr_cross_truth_64px", {MODEL: [None]}, task="cross", scorer="torchmetrics", because=MISSING
    ),
]


@pytest.fixture
def root(tmp_path: UPath, monkeypatch: pytest.MonkeyPatch) -> UPath:
    monkeypatch.setattr("tests.factories.evaluation.report.matrix_cells", lambda: CELLS)
    root = UPath(tmp_path / "root")
    root.mkdir()
    for run in ("default", "starter"):
        publish_evaluations(root, run, control=RECORDS, with_videos=False)
    return root


def cells_of(lines: list[str], label: str) -> list[str]:
    (line,) = [line for line in lines if line.startswith(label)]
    return line[20:].split("  ")


def test_run_table_fits_a_terminal_and_shows_both_runs(root: UPath) -> None:
    lines = run_table(root, ["default", "starter"])
    assert len(lines) <= 20
    assert max(map(len, lines)) <= WIDTH == 80
    assert lines[0] == "test split, people never trained on: 1 self and 1 cross videos of 5 clips"
    values = {label: [text.strip() for text in cells_of(lines, label) if text.strip()] for label in ROWS}
    assert values["yaw"] == [".90 (.50)", ".90 (.50)", "0", RELEASED_FIGURES["yaw"]]
    assert values["mouth by sound"] == ["0", "0", NO_VALUE, NO_VALUE]
    assert values["largest leak"] == [".20 (.60)", ".20 (.60)", NO_VALUE, ".57 (.51)"]
    assert values["frames with a face"][:3] == ["0.75", "0.75", "1.00"]
    assert values["PSNR self, dB"] == ["19.0", "19.0", "15.1", NO_VALUE]
    assert values["control score"][0] == ".14"  # followed .45, leak .31
    assert "no judge apart from training: --face-landmarker-weights is not set" in lines
    assert lines[-1].startswith("PSNR cross: the clips' ground truth is not known")


def test_run_table_gives_the_score_of_an_independent_reader(root: UPath) -> None:
    cells = [
        *CELLS,
        replace(cell(MODEL, "lip", "blendshape_jaw_open", 0.7), scorer="face_landmarker:0123"),
        replace(cell(MODEL, "pose", "blendshape_jaw_open", 0.1), scorer="face_landmarker:0123"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.factories.evaluation.report.matrix_cells", lambda: cells)
        publish_evaluations(root, "default", control=RECORDS, with_videos=False)
    lines = run_table(root, ["default"])
    assert "control score by face_landmarker, no part in training: default .60" in lines


def test_judges_are_named(root: UPath) -> None:
    judges = find_judges(root, "default", RECORDS)
    assert judges.trained == "unknown: the run's stages are gone"
    assert judges.judged == ("mediapipe_mesh", "torchmetrics")
    assert judges.independent.startswith("no reader without a part in training: pdfgc weights fetch")
    (read,) = metric_records("blendshape_smile_error", {MODEL: [0.1]}, scorer="face_landmarker:0123")
    assert find_judges(root, "starter", [read]).independent == "face_landmarker:0123"
    publish_toy_run(Path(root.path), "default")
    trained = find_judges(root, "default", []).trained
    # The stage's settings are those of the default preset, whose pictures.face_reader is mediapipe.
    assert trained == f"{MEDIAPIPE}, fixed random filters as VGG-19"


def test_run_table_names_clips_of_trained_people(root: UPath) -> None:
    plan = small_plan()
    held_out = type(plan)(plan.name, 0, "held_out_clips", plan.dataset, plan.reenactments)
    publish_evaluations(root, "default", plan=held_out, control=RECORDS, with_videos=False)
    assert run_table(root, ["default"])[0].startswith("held-out clips of people that were trained on: ")


def test_run_table_of_no_run_is_an_error(root: UPath) -> None:
    with pytest.raises(ValueError, match="need at least one evaluated run"):
        run_table(root, [])
    with pytest.raises(ValueError, match="run 'other' has no generated_videos"):
        run_table(root, ["other"])


def test_demo_page_plays_the_video_first_and_escapes_text() -> None:
    page = DemoPage(
        "demo", "by run <b>", "data:video/mp4;base64,AA==", ["a  1", "b <2"], [Fact("video", "v.mp4")]
    )
    html = render_demo(page)
    body = html.index("<body>")
    assert (
        html.index("<video", body)
        < html.index("by run &lt;b&gt;", html.index("<p>", body))
        < html.index("<pre>")
    )
    assert "autoplay muted loop playsinline controls" in html
    assert "a  1\nb &lt;2" in html
    assert "http" not in html[body:]
