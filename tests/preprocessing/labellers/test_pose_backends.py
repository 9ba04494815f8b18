"""What the backends of pose_labels share, and how the FaceLandmarker's gaps are filled."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.labellers.face_landmarker import BLENDSHAPES
from preprocessing.labellers.pose_backend import mean_face_residual_px
from preprocessing.labellers.pose_face_landmarker import bridged
from preprocessing.labellers.pose_mean_face import label_pose
from preprocessing.labellers.weights import (
    LABELLERS_NAME,
    OUTSIDE_WEIGHTS_NAME,
    labeller_name,
    pass_on_who_labelled,
    read_who_labelled,
    write_who_labelled,
)
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
from preprocessing.orchestration.steps import DEFAULT_LABELLERS, STEPS, Batch, PreprocessingSettings, StepRun
from storage.publishing import BuildReport
from tests.factories.backends import landmarks_of, made_clip, noise, weights_at, write_clips


def test_a_gap_is_filled_straight_and_the_ends_go_on() -> None:
    pose = np.zeros((5, 6), np.float32)
    pose[:, 1] = [np.nan, 1.0, np.nan, np.nan, 4.0]
    found = np.array([False, True, False, False, True])
    assert bridged(pose, found)[:, 1].tolist() == [1.0, 1.0, 2.0, 3.0, 4.0]


def test_the_residual_of_any_labeller_is_the_default_ones_where_poses_agree() -> None:
    lot = np.random.default_rng(0)
    shown = landmarks_of(np.tile([0.1, -0.2, 0.05, 0.5, 2.0, -8.0], (3, 1)))
    shown[..., :2] += lot.normal(0.0, 1.0, shown[..., :2].shape)
    fitted = label_pose(shown)
    assert mean_face_residual_px(fitted.pose, shown) == pytest.approx(fitted.residual_px, abs=2e-3)
    moved = fitted.pose + np.array([0, 0, 0, 1.0, 0, 0], np.float32)  # a centimetre is about 9.4 px there
    assert mean_face_residual_px(moved, shown) == pytest.approx(9.4, abs=0.4)


def test_the_default_publishes_its_table_alone(tmp_path: Path) -> None:
    clips = write_clips(tmp_path / "clips", [made_clip("a", noise(2))])
    (tmp_path / "made").mkdir()
    make_pose_labels(clips, PoseLabelSettings(), tmp_path / "made")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["labels.parquet"]
    assert read_who_labelled(tmp_path / "made") == {}
    assert read_coefficients(tmp_path / "made") == {}


def test_who_labelled_and_whose_weights_are_told_beside_the_table(tmp_path: Path) -> None:
    weights = weights_at(tmp_path / "x.pth", "c")
    name = labeller_name("deep3d", "1", weights)
    write_who_labelled(tmp_path, {"pose": name}, weights)
    assert read_who_labelled(tmp_path) == {"pose": "deep3d 1 weights cccccccc"}
    assert json.loads((tmp_path / OUTSIDE_WEIGHTS_NAME).read_text()) == ["made by a test"]
    assert json.loads((tmp_path / LABELLERS_NAME).read_text()) == {"pose": name}


def test_coefficients_come_back_by_clip_in_frame_order(tmp_path: Path) -> None:
    values = {key: np.random.default_rng(n).random((3, 257), np.float32) for n, key in enumerate("ba")}
    told = {key: {"coefficients": value} for key, value in values.items()}
    write_labels(tmp_path, COEFFICIENTS_SCHEMA, told, COEFFICIENTS_TABLE)
    found = read_coefficients(tmp_path)
    assert list(found) == ["a", "b"]
    for key, value in values.items():
        np.testing.assert_array_equal(found[key], value)


def test_blendshapes_come_back_by_clip_in_frame_order_with_the_frames_that_have_none(tmp_path: Path) -> None:
    assert read_blendshapes(tmp_path) == {}
    values = {key: np.random.default_rng(n).random((3, 52), np.float32) for n, key in enumerate("ba")}
    values["a"][1] = np.nan
    told: dict[str, Mapping[str, NDArray[np.generic]]] = {
        key: dict(zip(BLENDSHAPES, value.T, strict=True)) for key, value in values.items()
    }
    write_labels(tmp_path, BLENDSHAPES_SCHEMA, told, BLENDSHAPES_TABLE)
    found = read_blendshapes(tmp_path)
    assert list(found) == ["a", "b"]
    for key, value in values.items():
        np.testing.assert_array_equal(found[key], value)


def test_shards_tell_who_found_the_faces_beside_who_labelled_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = {name: tmp_path / name for name in STEPS["shards"].upstream}
    for folder in (*upstream.values(), tmp_path / "face_tracks"):
        folder.mkdir()
    told: list[dict[str, str]] = []

    def make_shards(_: str, __: object, labellers: dict[str, str], *___: object) -> BuildReport:
        told.append(labellers)
        return BuildReport({}, {})

    monkeypatch.setattr("preprocessing.dataset.packing.make_shards", make_shards)
    run = StepRun(Batch("b", ()), PreprocessingSettings(), upstream, tmp_path, 0, print, None)
    STEPS["shards"].build(run)
    write_who_labelled(tmp_path / "face_tracks", {"faces": "finder 1"}, weights_at(tmp_path / "x", "a"))
    pass_on_who_labelled(tmp_path / "face_tracks", upstream["clips"])
    pass_on_who_labelled(tmp_path / "eye_anchors", upstream["clips"])  # told nobody: nothing changes
    write_who_labelled(upstream["pose_labels"], {"pose": "deep3d 1"}, weights_at(tmp_path / "y", "b"))
    STEPS["shards"].build(run)
    assert told == [DEFAULT_LABELLERS, DEFAULT_LABELLERS | {"faces": "finder 1", "pose": "deep3d 1"}]
    assert not (upstream["clips"] / OUTSIDE_WEIGHTS_NAME).exists()
