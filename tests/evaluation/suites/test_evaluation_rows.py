"""Tables of the evaluations out of readings, pictures and a scorer that are known."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from upath import UPath

from evaluation.config import EvaluationConfig
from evaluation.controls import CONTROLS, Control
from evaluation.generation.files import GeneratedVideos, open_generated
from evaluation.generation.reenactment import Reenactment, ReenactmentPlan
from evaluation.readings.face import FaceReadings
from evaluation.readings.videos import VideoReadings, cut
from evaluation.records import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL, MetricRecord, read_records
from evaluation.suites.control import official_folder, panel_files
from evaluation.suites.control_rows import AGAINST_TRUTH, ControlTable, add_change, add_follow, add_rows
from evaluation.suites.lip_sync_rows import missing_rows, score_pictures, scored_rows
from evaluation.suites.quality import run_quality_evaluation
from storage.root import local_copy, open_root
from tests.factories.readings import readings
from tests.factories.report import publish_evaluations

FRAMES = 40
TIME = np.linspace(0.0, 2.0 * np.pi, FRAMES)
SWINGS = {"anna": 20.0 * np.sin(TIME), "bela": 10.0 * np.cos(TIME)}  # degrees of every angle
CLIPS = {key: readings(FRAMES, angles_degrees=swing[:, None]) for key, swing in SWINGS.items()}


def videos() -> ReenactmentPlan:
    anna: dict[Control, str] = dict.fromkeys(CONTROLS, "anna")
    bela: dict[Control, str] = dict.fromkeys(CONTROLS, "bela")
    made = (
        Reenactment("self-00", "self", "anna", 0, anna, FRAMES),
        Reenactment("cross-00", "cross", "anna", 0, bela, FRAMES),
        Reenactment("control-00-pose", "control", "anna", 0, {**anna, "pose": "bela"}, FRAMES, "self-00"),
    )
    return ReenactmentPlan("x", 0, "test", "digest", made)


def perfect() -> VideoReadings[FaceReadings]:
    """A model that turns the head as its pose driver does."""
    made = {one.name: CLIPS[one.drivers["pose"]] for one in videos().reenactments}
    portraits = {one.name: cut(CLIPS[one.portrait], 1) for one in videos().reenactments}
    return VideoReadings(clips=CLIPS, shown=CLIPS, made=made, portraits=portraits)


def value(rows: list[MetricRecord], metric: str, task: str, method: str) -> float | None:
    (found,) = [one for one in rows if (one.metric, one.task, one.method) == (metric, task, method)]
    return found.value


def test_a_model_that_turns_as_its_driver_has_no_error_and_the_still_portrait_has() -> None:
    table = ControlTable()
    add_rows(table, videos(), perfect())
    for task in ("self", "cross"):
        assert value(table.rows, "yaw_error", task, MODEL) == pytest.approx(0.0, abs=1e-4)
    # The portrait's yaw is 0, the driver's mean |20 sin| over a period.
    still = value(table.rows, "yaw_error", "self", COPY_PORTRAIT)
    assert still == pytest.approx(float(np.abs(SWINGS["anna"]).mean()), rel=1e-4)
    rows = {(one.task, one.method) for one in table.rows}
    assert rows == {
        *(("self", row) for row in (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET)),
        *(("cross", row) for row in (MODEL, COPY_PORTRAIT, COPY_TARGET)),
    }


def test_matrices_stand_in_the_long_form_with_their_score() -> None:
    table = ControlTable()
    add_follow(table, videos(), perfect())
    add_change(table, videos(), perfect())
    cells = {
        (cell["protocol"], cell["method"], cell["driver"], cell["measure"]): cell["correlation"]
        for cell in table.cells
    }
    assert cells["control_change", MODEL, "pose", "yaw"] == pytest.approx(1.0)
    assert cells["control_follow", MODEL, "pose", "roll"] == pytest.approx(1.0)
    assert cells["control_change", COPY_PORTRAIT, "pose", "yaw"] is None
    assert {cell["scorer"] for cell in table.cells} == {"mediapipe_mesh"}
    assert {name.split()[0] for name in table.scores} <= {"control_change", "control_follow"}


def test_against_the_truth_rows_have_a_scorer_of_their_own_and_no_landmark_distance() -> None:
    table = ControlTable()
    twice = {key: readings(FRAMES, angles_degrees=2.0 * swing[:, None]) for key, swing in SWINGS.items()}
    add_rows(table, videos(), perfect(), twice)
    assert {row.scorer for row in table.rows} == {AGAINST_TRUTH}
    assert not [row for row in table.rows if "lmd" in row.metric]
    error = value(table.rows, "yaw_error", "self", MODEL)
    assert error == pytest.approx(float(np.abs(SWINGS["anna"]).mean()), rel=1e-4)


def test_readings_are_cut_and_held() -> None:
    held: FaceReadings = perfect().still(videos().named("self-00"))
    assert len(held) == FRAMES
    assert float(held.measure("yaw").std()) == 0.0
    assert len(cut(held, 7)) == 7


@dataclass(frozen=True)
class GreyScorer:
    """Pictures are embedded as their grey on a circle, sound as nothing but its length."""

    name: str = "grey"

    def embed_frames(self, frames: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.array([[float(frame.mean()), 1.0] for frame in frames], np.float32)

    def embed_sound(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ones((len(samples) // 640, 2), np.float32)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> UPath:
    made = open_root(str(tmp_path_factory.mktemp("rows") / "root"))
    publish_evaluations(made)
    return made


@pytest.fixture(scope="module")
def made(root: UPath) -> GeneratedVideos:
    return open_generated(root, "default")[1]


def test_lip_sync_has_every_row_and_a_video_that_is_too_short_a_reason(made: GeneratedVideos) -> None:
    frame = scored_rows(made, GreyScorer(), "frame")
    assert {row.method for row in frame if row.task == "self"} == {
        MODEL,
        GROUND_TRUTH,
        COPY_PORTRAIT,
        COPY_TARGET,
    }
    # Of a self video the copied target is the truth itself.
    truth = value(frame, "lse_d_frame", "self", GROUND_TRUTH)
    assert truth == value(frame, "lse_d_frame", "self", COPY_TARGET)
    # The grey of the true clip is nearer to the sound's 1 than the portrait's 200.
    still = value(frame, "lse_d_frame", "self", COPY_PORTRAIT)
    assert truth is not None
    assert still is not None
    assert truth < still
    crop = scored_rows(made, GreyScorer(), "crop")
    assert value(crop, "lse_c_crop", "cross", MODEL) is None
    assert {row.missing_because for row in crop if row.metric == "lse_c_crop"} == {
        "too_short: 10 frames and 10 of sound, need 30 of each"
    }
    with pytest.raises(ValueError, match="protocol 'track' is not made of pictures"):
        score_pictures([], np.zeros(0, np.float32), GreyScorer(), "track")


def test_without_syncnet_its_rows_say_what_to_give() -> None:
    assert {row.scorer for row in missing_rows()} == {"syncnet_v2"}
    assert all("pdfgc weights fetch syncnet_v2" in row.missing_because for row in missing_rows())


def test_quality_of_flat_pictures_is_what_their_greys_say(root: UPath) -> None:
    config = EvaluationConfig(run="default")
    published = run_quality_evaluation(root, config, progress=lambda _: None)
    rows = read_records(local_copy(published.directory) / "metric_records.parquet")
    mine = value(rows, "psnr_64px", "self", MODEL)
    # Grey 30 against 40, each within 1 after H.264: 10 log10(255^2 / 10^2) = 28.13 dB.
    assert mine == pytest.approx(28.13, abs=1.0)
    assert value(rows, "ssim_64px", "self", GROUND_TRUTH) == pytest.approx(1.0, abs=3e-4)  # float32
    assert value(rows, "csim_insightface", "cross", MODEL) is None
    assert not [row for row in rows if row.metric.startswith("psnr") and row.task == "cross"]
    assert not run_quality_evaluation(root, config, progress=lambda _: None).built


def test_files_that_are_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PDFGC_OFFICIAL_PANELS", raising=False)
    assert official_folder(EvaluationConfig()) is None
    monkeypatch.setenv("PDFGC_OFFICIAL_PANELS", str(tmp_path))
    assert official_folder(EvaluationConfig()) == tmp_path
    with pytest.raises(ValueError, match="holds none of the released model's published panel videos"):
        panel_files(tmp_path)
