"""What the backends of pose_labels share: their tables, the residual, and interpolated gaps."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.labellers.backend import LABELLERS_NAME, read_labellers, write_labellers
from preprocessing.labellers.face_landmarker import BLENDSHAPES, bridge_pose
from preprocessing.labellers.pose_mean_face import label_pose, mean_face_residual_px
from preprocessing.labels.pose import PoseLabelSettings, make_pose_labels
from preprocessing.labels.tables import (
    BLENDSHAPES_SCHEMA,
    BLENDSHAPES_TABLE,
    COEFFICIENTS_SCHEMA,
    COEFFICIENTS_TABLE,
    read_blendshapes,
    read_coefficients,
    write_labels,
)
from preprocessing.orchestration.step import StepRun, VideoBatch
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings
from storage.publishing import BuildReport
from tests.factories.preprocessing.backends import landmarks_of, made_clip, noise, write_clips


def test_bridge_pose_interpolates_gaps_and_holds_the_ends() -> None:
    pose = np.zeros((5, 6), np.float32)
    pose[:, 1] = [np.nan, 1.0, np.nan, np.nan, 4.0]
    found = np.array([False, True, False, False, True])
    assert bridge_pose(pose, found)[:, 1].tolist() == [1.0, 1.0, 2.0, 3.0, 4.0]


def test_residual_of_the_default_pose_is_the_default_residual() -> None:
    rng = np.random.default_rng(0)
    shown = landmarks_of(np.tile([0.1, -0.2, 0.05, 0.5, 2.0, -8.0], (3, 1)))
    shown[..., :2] += rng.normal(0.0, 1.0, shown[..., :2].shape)
    fitted = label_pose(shown)
    assert mean_face_residual_px(fitted.pose, shown) == pytest.approx(fitted.residual_px, abs=2e-3)
    moved = fitted.pose + np.array([0, 0, 0, 1.0, 0, 0], np.float32)  # one centimetre is about 9.4 px there
    assert mean_face_residual_px(moved, shown) == pytest.approx(9.4, abs=0.4)


def test_default_backend_publishes_labels_and_their_record(tmp_path: Path) -> None:
    clips = write_clips(tmp_path / "clips", [made_clip("a", noise(2))])
    (tmp_path / "labels").mkdir()
    make_pose_labels(clips, PoseLabelSettings(), tmp_path / "labels")
    assert {path.name for path in (tmp_path / "labels").iterdir()} == {"labels.parquet", LABELLERS_NAME}
    assert read_labellers(tmp_path / "labels") == {"pose": "mean_face 2"}
    assert read_coefficients(tmp_path / "labels") == {}


def test_coefficients_round_trip_in_frame_order(tmp_path: Path) -> None:
    values = {key: np.random.default_rng(n).random((3, 257), np.float32) for n, key in enumerate("ba")}
    columns = {key: {"coefficients": value} for key, value in values.items()}
    write_labels(tmp_path, COEFFICIENTS_SCHEMA, columns, COEFFICIENTS_TABLE)
    read = read_coefficients(tmp_path)
    assert list(read) == ["a", "b"]
    for key, value in values.items():
        np.testing.assert_array_equal(read[key], value)


def test_blendshapes_round_trip_with_frames_without_a_face(tmp_path: Path) -> None:
    assert read_blendshapes(tmp_path) == {}
    values = {key: np.random.default_rng(n).random((3, 52), np.float32) for n, key in enumerate("ba")}
    values["a"][1] = np.nan
    columns: dict[str, Mapping[str, NDArray[np.generic]]] = {
        key: dict(zip(BLENDSHAPES, value.T, strict=True)) for key, value in values.items()
    }
    write_labels(tmp_path, BLENDSHAPES_SCHEMA, columns, BLENDSHAPES_TABLE)
    read = read_blendshapes(tmp_path)
    assert list(read) == ["a", "b"]
    for key, value in values.items():
        np.testing.assert_array_equal(read[key], value)


def test_shards_name_the_labellers_of_their_upstream_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = {name: tmp_path / name for name in STEPS["shards"].upstream}
    for folder in upstream.values():
        folder.mkdir()
    packed: list[dict[str, str]] = []

    def make_shards(_: str, __: object, labellers: dict[str, str], *___: object) -> BuildReport:
        packed.append(labellers)
        return BuildReport({}, {})

    monkeypatch.setattr("preprocessing.dataset.packing.make_shards", make_shards)
    run = StepRun(VideoBatch("b", ()), PreprocessingSettings().shards, upstream, tmp_path)
    write_labellers(upstream["pose_labels"], {"pose": "mean_face 2"})
    write_labellers(upstream["gaze_labels"], {"gaze": "iris_eyeball 3", "blink": "lid_gap 2"})
    write_labellers(upstream["lip_sync_scores"], {"lip_sync": "mouth_energy 1"})
    STEPS["shards"].build(run)
    write_labellers(upstream["clips"], {"faces": "finder 1"})
    write_labellers(upstream["pose_labels"], {"pose": "deep3d 1"})
    STEPS["shards"].build(run)
    labels = {"gaze": "iris_eyeball 3", "blink": "lid_gap 2", "lip_sync": "mouth_energy 1"}
    assert packed == [labels | {"pose": "mean_face 2"}, labels | {"pose": "deep3d 1", "faces": "finder 1"}]
