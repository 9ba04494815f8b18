"""Figures of rendered heads whose control is perfect: the same to the last digit on two runs."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from demo_corpus.corpus import CorpusSettings, make_corpus
from demo_corpus.people import load_person
from demo_corpus.scene import render_cross_driven
from demo_corpus.truth import CONTROL_COLUMNS, filming_camera, read_truth
from evaluation.animation.limited_reading import LimitedReader
from evaluation.records import COPY_PORTRAIT, MODEL, read_records
from evaluation.referee.config import RefereeConfig
from evaluation.referee.listing import MediaPart, RefusedRowError, read_list
from evaluation.referee.reading import MediaReader, choose_framing
from evaluation.referee.referee import RefereeResult, referee
from evaluation.report.matrix import MATRIX_TABLE, build_matrices, read_matrix
from evaluation.report.summary import REPORT_PAGE, REPORT_TABLE, SUMMARY_TABLE
from preprocessing.media.decoding import DecodeSettings, decode_sound
from preprocessing.media.encoding import write_video
from preprocessing.worker_limits import WorkerLimits

FRAMES = 20
GOLDEN = {
    "face_found_share cross": 1.0,
    "pitch_correlation cross": 0.98334,
    "yaw_correlation cross": 0.99107,
    "roll_correlation cross": 0.99357,
    "gaze_yaw_correlation cross": 0.86704,
    "mouth_opening_correlation cross": 0.80488,
    "yaw_error cross": 1.42017,
    "blur_effect_224px cross": 0.44698,
    "psnr_224px self": 21.5,
}


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A row that perfect control rendered, a row of self-reenactment, and three that cannot be used."""
    folder = tmp_path_factory.mktemp("videos")
    settings = CorpusSettings(people=2, videos=2, seconds_per_video=FRAMES / 25, side_px=224, workers=0)
    videos = make_corpus(folder, settings)
    drivers = {"lip": videos[1], "pose": videos[2], "eye": videos[3], "expression": videos[1]}
    truths = {control: read_truth(drivers[control].truth) for control in CONTROL_COLUMNS}
    rig = load_person(folder, videos[0].identity)
    frames = render_cross_driven(rig, filming_camera(read_truth(videos[0].truth)), truths, range(FRAMES))
    sound = decode_sound(drivers["lip"].video, DecodeSettings())
    write_video(folder / "perfect.mp4", frames, 25, sound)
    names = {control: video.video.relative_to(folder) for control, video in drivers.items()}
    (folder / "short.mp4").write_bytes(b"no video")
    (folder / "list.csv").write_text(
        "name,generated,truth,portrait,lip,pose,eye,expression\n"
        f"perfect,perfect.mp4,,{videos[0].video},{names['lip']},{names['pose']},{names['eye']},"
        f"{names['expression']}\n"
        f"other talk,{videos[1].video},{videos[0].video},,,,,\n"
        "no file,gone.mp4,,,,,,\n"
        "no video,short.mp4,,,,,,\n"
    )
    return folder / "list.csv"


@pytest.fixture(scope="module")
def result(listed: Path) -> RefereeResult:
    return measured(listed, "first")


def measured(listed: Path, folder: str) -> RefereeResult:
    config = RefereeConfig(lip_encoders="")
    return referee(listed, listed.parent / folder, config, UPath(listed.parent / "root"))


def test_figures_of_perfect_control_are_golden(result: RefereeResult) -> None:
    values = {
        f"{record.metric} {record.task}": record.value
        for record in result.records
        if record.method == MODEL and record.value is not None
    }
    # Another processor rounds MediaPipe's networks and x264's pictures otherwise.
    assert {name: values[name] for name in GOLDEN} == pytest.approx(GOLDEN, rel=0.02)


def test_second_run_equals_the_first_to_the_last_digit(listed: Path, result: RefereeResult) -> None:
    again = measured(listed, "second")
    assert again.records == result.records
    for name in (REPORT_TABLE, SUMMARY_TABLE, MATRIX_TABLE, REPORT_PAGE):
        assert (again.folder / name).read_bytes() == (result.folder / name).read_bytes(), name


def test_files_hold_what_was_measured(result: RefereeResult) -> None:
    assert read_records(result.folder / REPORT_TABLE) == result.records
    scores = {
        matrix.method: matrix.score for matrix in build_matrices(read_matrix(result.folder / MATRIX_TABLE))
    }
    assert scores[COPY_PORTRAIT] == 0.0
    assert scores[MODEL] == pytest.approx(0.24, abs=0.02)  # by chance: in 20 frames two drivers move alike


def test_rows_left_out_are_in_the_result_and_on_the_page(listed: Path, result: RefereeResult) -> None:
    lines = [row.text(listed) for row in result.refused]
    assert [line.partition(": ")[0] for line in lines] == [f"{listed} line {n}, generated" for n in (4, 5)]
    assert "no file" in lines[0]
    assert "its content is in none of the supported formats" in lines[1]
    page = (result.folder / REPORT_PAGE).read_text("utf-8")
    assert "2 measured, 2 left out" in page
    assert "perfect: driven by lips and sound of talk-1.mp4" in page


def test_metrics_without_weights_or_network_give_their_reason(result: RefereeResult) -> None:
    reasons = {record.metric: record.missing_because for record in result.records if record.value is None}
    assert reasons["fvd_i3d"].startswith("not implemented: its network, I3D")
    assert reasons["csim_insightface"].startswith("no buffalo_l weights: run `pdfgc weights fetch buffalo_l`")


def test_list_without_a_usable_row_raises(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("generated\ngone.mp4\n")
    with pytest.raises(ValueError, match=r"no row can be measured: .*bad\.csv line 2, generated: no file"):
        referee(tmp_path / "bad.csv", tmp_path / "out", RefereeConfig(), UPath(tmp_path))


@pytest.fixture
def limited() -> Generator[LimitedReader]:
    with LimitedReader(WorkerLimits()) as reader:
        yield reader


def test_pictures_that_are_not_square_are_aligned(listed: Path, limited: LimitedReader) -> None:
    rows, _ = read_list(listed)
    assert choose_framing(rows[:2], "auto", limited) == "whole"
    wide = listed.parent / "wide.mp4"
    write_video(wide, (np.zeros((64, 96, 3), np.uint8) for _ in range(10)), 25, None)
    row = replace(rows[0], generated=MediaPart(wide))
    assert choose_framing([*rows[:2], row], "auto", limited) == "aligned"
    with (
        MediaReader("whole", 10.0, None, limited) as reader,
        pytest.raises(RefusedRowError, match="96 x 64 px, not"),
    ):
        reader.pictures("generated", row.generated)
    boxed = MediaPart(wide, (16, 0, 64, 64))
    with MediaReader("whole", 10.0, None, limited) as reader:
        assert len(reader.pictures("generated", boxed).pictures) == 10
        with pytest.raises(RefusedRowError, match="the part is outside of its 96 x 64 px"):
            reader.pictures("generated", MediaPart(wide, (64, 0, 64, 64)))
    with pytest.raises(ValueError, match="a part of pictures needs --framing whole"):
        choose_framing([replace(row, generated=boxed)], "aligned", limited)


def test_a_file_that_takes_too_much_is_its_row(listed: Path) -> None:
    rows, _ = read_list(listed)
    with (
        LimitedReader(WorkerLimits(cpu_hours=1e-6)) as reader,
        MediaReader("whole", 10.0, None, reader) as media,
        pytest.raises(RefusedRowError, match="reading it was ended: reading took more than"),
    ):
        media.pictures("generated", rows[0].generated)


def test_aligned_framing_names_every_scorer(listed: Path) -> None:
    text = listed.read_text().splitlines()
    small = listed.parent / "aligned.csv"
    small.write_text(f"{text[0]}\n{text[1]}\n")
    config = RefereeConfig(lip_encoders="", framing="aligned")
    aligned = referee(small, listed.parent / "third", config, UPath(listed.parent / "root"))
    assert {record.scorer.endswith(" of aligned faces") for record in aligned.records} == {True}
    yaw = next(figure for figure in aligned.figures if figure.name == "head turns (yaw)")
    assert yaw.meaning == "follows its driver"
