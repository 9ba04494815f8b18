"""Records of the suites on known readings, pictures and embeddings."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from upath import UPath

from evaluation.config import EvaluationConfig
from evaluation.controls import CONTROLS, Control
from evaluation.generation.files import GeneratedVideos, open_generated
from evaluation.generation.reenactment import Reenactment, ReenactmentPlan
from evaluation.metrics.metric import load_metrics
from evaluation.metrics.table import FACE_METRICS, LANDMARK_METRICS, LIP_SYNC_METRICS
from evaluation.readings.face import SCORER, FaceReadings
from evaluation.readings.videos import VideoReadings, cut
from evaluation.records import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL, MetricRecord, read_records
from evaluation.suites.control import AGAINST_TRUTH, ControlTable, add_matrices, add_records
from evaluation.suites.lip_sync import score_generated, score_pictures
from evaluation.suites.quality import run_quality_evaluation
from storage.root import local_copy, open_root
from tests.factories.evaluation.readings import readings
from tests.factories.evaluation.report import publish_evaluations

FRAMES = 40
CONTROL_METRICS = (*FACE_METRICS, *LANDMARK_METRICS)
FRAME_METRICS = [metric for metric in LIP_SYNC_METRICS if metric.protocol == "frame"]
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
    return VideoReadings(clips=CLIPS, resized=CLIPS, rendered=made, portraits=portraits)


def value(rows: list[MetricRecord], metric: str, task: str, method: str) -> float | None:
    (found,) = [one for one in rows if (one.metric, one.task, one.method) == (metric, task, method)]
    return found.value


def test_control_errors_of_a_perfect_model_and_of_baselines() -> None:
    table = ControlTable()
    add_records(table, videos(), perfect(), CONTROL_METRICS, SCORER)
    for task in ("self", "cross"):
        assert value(table.records, "yaw_error", task, MODEL) == pytest.approx(0.0, abs=1e-4)
    # The portrait's yaw is 0, the driver's mean |20 sin| over a period.
    still = value(table.records, "yaw_error", "self", COPY_PORTRAIT)
    assert still == pytest.approx(float(np.abs(SWINGS["anna"]).mean()), rel=1e-4)
    rows = {(one.task, one.method) for one in table.records}
    assert rows == {
        *(("self", row) for row in (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET)),
        *(("cross", row) for row in (MODEL, COPY_PORTRAIT, COPY_TARGET)),
    }


def test_matrices_are_written_in_long_form_with_scores() -> None:
    table = ControlTable()
    add_matrices(table, videos(), perfect(), SCORER)
    cells = {
        (cell["protocol"], cell["method"], cell["driver"], cell["measure"]): cell["correlation"]
        for cell in table.cells
    }
    assert cells["control_change", MODEL, "pose", "yaw"] == pytest.approx(1.0)
    assert cells["control_follow", MODEL, "pose", "roll"] == pytest.approx(1.0)
    assert cells["control_change", COPY_PORTRAIT, "pose", "yaw"] is None
    assert {cell["scorer"] for cell in table.cells} == {"mediapipe_mesh"}
    assert {name.split()[0] for name in table.scores} <= {"control_change", "control_follow"}


def test_rendered_truth_of_cross_and_control_videos_is_a_method() -> None:
    read, table = perfect(), ControlTable()
    truths = {one.name: CLIPS[one.drivers["pose"]] for one in videos().reenactments if one.task != "self"}
    # A model that holds still, beside the renderer, which follows.
    still = replace(
        read, rendered={one.name: read.still(one) for one in videos().reenactments}, truths=truths
    )
    add_records(table, videos(), still, CONTROL_METRICS, SCORER)
    add_matrices(table, videos(), still, SCORER)
    assert value(table.records, "yaw_error", "cross", GROUND_TRUTH) == pytest.approx(0.0, abs=1e-4)
    cells = {
        (cell["protocol"], cell["method"], cell["driver"], cell["measure"]): cell for cell in table.cells
    }
    for protocol in ("control_follow", "control_change"):
        assert cells[protocol, GROUND_TRUTH, "pose", "yaw"]["correlation"] == pytest.approx(1.0), protocol
        assert cells[protocol, MODEL, "pose", "yaw"]["still"], protocol


def test_records_against_the_truth_have_their_own_scorer() -> None:
    table = ControlTable()
    twice = {key: readings(FRAMES, angles_degrees=2.0 * swing[:, None]) for key, swing in SWINGS.items()}
    add_records(table, videos(), perfect(), FACE_METRICS, AGAINST_TRUTH, twice)
    assert {row.scorer for row in table.records} == {AGAINST_TRUTH}
    error = value(table.records, "yaw_error", "self", MODEL)
    assert error == pytest.approx(float(np.abs(SWINGS["anna"]).mean()), rel=1e-4)


def test_readings_are_cut_and_held_still() -> None:
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


def test_lip_sync_scores_every_method_and_reports_short_videos(made: GeneratedVideos) -> None:
    frame = score_generated(made, GreyScorer(), "frame", FRAME_METRICS)
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
    crop = score_generated(made, GreyScorer(), "crop", LIP_SYNC_METRICS)
    assert value(crop, "lse_c_crop", "cross", MODEL) is None
    assert {row.missing_because for row in crop if row.metric == "lse_c_crop"} == {
        "too_short: 10 frames and 10 of sound, need 30 of each"
    }
    with pytest.raises(ValueError, match="by protocol crop or frame, not by 'track'"):
        score_pictures([], np.zeros(0, np.float32), GreyScorer(), "track")


def test_lip_sync_metrics_are_missing_without_syncnet() -> None:
    ready, missing = load_metrics(LIP_SYNC_METRICS, {"syncnet_weights": None})
    assert {metric.protocol for metric in ready} == {"crop"}
    assert {record.scorer for record in missing} == {"syncnet_v2"}
    assert all("pdfgc weights fetch syncnet_v2" in record.missing_because for record in missing)


def test_quality_of_flat_pictures_follows_their_greys(root: UPath) -> None:
    config = EvaluationConfig(run="default")
    published = run_quality_evaluation(root, config)
    rows = read_records(local_copy(published.directory) / "metric_records.parquet")
    mine = value(rows, "psnr_64px", "self", MODEL)
    # Grey 30 against 40, each within 1 after H.264: 10 log10(255^2 / 10^2) = 28.13 dB.
    assert mine == pytest.approx(28.13, abs=1.0)
    assert value(rows, "ssim_64px", "self", GROUND_TRUTH) == pytest.approx(1.0, abs=3e-4)  # float32
    assert value(rows, "csim_insightface", "cross", MODEL) is None
    assert not [row for row in rows if row.metric == "psnr_64px" and row.task == "cross"]
    assert value(rows, "psnr_cross_truth_64px", "cross", MODEL) is None  # no rendered corpus
    assert not run_quality_evaluation(root, config).built
