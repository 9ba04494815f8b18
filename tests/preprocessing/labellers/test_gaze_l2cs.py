"""L2CS's gaze told in the head, and its eyes' face as it was trained on; the network itself: tests/models."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from typing_extensions import override

from models.external.l2cs import L2CS, L2CSConfig
from preprocessing.faces.frame_of_reference import (
    direction_from_gaze,
    gaze_from_direction,
    rotation_from_angles,
    turn_to_camera,
)
from preprocessing.labellers.gaze_l2cs import L2CSGaze, face_picture, gaze_in_head
from preprocessing.labellers.weights import read_who_labelled
from preprocessing.labels.gaze import (
    IRIS_TABLE,
    GazeLabelSettings,
    gaze_by_irises,
    make_gaze_labels,
)
from preprocessing.labels.pose import PoseLabelSettings, make_pose_labels
from preprocessing.labels.tables import GAZE_NAMES, GAZE_SCHEMA, read_labels
from tests.factories.backends import made_clip, noise, weights_at, write_clips


def poses(count: int) -> NDArray[np.float64]:
    lot = np.random.default_rng(0)
    return lot.uniform(-1, 1, (count, 6)) * [0.4, 0.6, 0.3, 5.0, 5.0, 20.0]


def test_what_looks_into_the_camera_is_turned_there_by_the_smallest_turn() -> None:
    place = poses(30)[:, 3:]
    turn = turn_to_camera(place)
    looks = turn[:, :, 2]  # of (0, 0, 1)
    to_camera = np.array([0.0, 0.0, 100.0]) - place
    np.testing.assert_allclose(
        looks, to_camera / np.linalg.norm(to_camera, axis=1, keepdims=True), atol=1e-12
    )
    np.testing.assert_allclose(turn @ np.swapaxes(turn, 1, 2), np.tile(np.eye(3), (30, 1, 1)), atol=1e-12)
    angle = np.arccos((np.trace(turn, axis1=1, axis2=2) - 1.0) / 2.0)
    np.testing.assert_allclose(np.cos(angle), looks[:, 2], atol=1e-12)


def test_a_look_into_the_camera_undoes_the_head_and_its_place() -> None:
    """An eye that looks into the camera looks, in the head, to where the camera stands."""
    pose = poses(30)
    camera_in_head = (
        np.swapaxes(rotation_from_angles(pose[:, :3]), 1, 2)
        @ (np.array([0.0, 0.0, 100.0]) - pose[:, 3:])[..., None]
    )[..., 0]
    told = gaze_in_head(np.zeros((30, 2)), pose.astype(np.float32))
    np.testing.assert_allclose(told, gaze_from_direction(camera_in_head), atol=1e-6)


def test_the_gaze_of_a_straight_head_on_the_axis_stays_as_it_is() -> None:
    gaze = np.array([[0.2, -0.3], [-0.1, 0.4]])
    np.testing.assert_allclose(gaze_in_head(gaze, np.zeros((2, 6), np.float32)), gaze, atol=1e-12)


def test_a_head_that_turns_under_a_fixed_look_takes_as_much_from_the_gaze() -> None:
    turned = np.array([[0.0, 0.25, 0.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0, 0.0, 0.0]], np.float32)
    told = gaze_in_head(np.zeros((2, 2)), turned)
    np.testing.assert_allclose(told, [[0.0, -0.25], [-0.1, 0.0]], atol=1e-7)
    assert direction_from_gaze(told[0])[0] < 0  # to the image's left


def test_the_network_sees_the_landmarks_box_enlarged() -> None:
    clip = made_clip("a", [np.full((224, 224, 3), 90, np.uint8)])
    picture = face_picture(clip.frames_jpeg[0], clip.landmarks_px[0])
    assert picture.shape == (448, 448, 3)
    assert np.abs(picture.astype(int) - 90).max() <= 2
    corner = clip.landmarks_px[0] - [400.0, 0.0, 0.0]  # a face that has left the crop
    assert face_picture(clip.frames_jpeg[0], corner.astype(np.float32)).shape == (448, 448, 3)


class Watched(torch.nn.Module):
    """Tells of each picture its mean red and green."""

    @override
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=(2, 3))[:, :2]


def test_pictures_are_normalised_as_imagenets() -> None:
    clip = made_clip("a", [np.full((224, 224, 3), (124, 116, 104), np.uint8)])
    gaze = L2CSGaze(Watched())
    told = gaze.label(gaze.prepare(clip))
    assert told[0] == pytest.approx([0.0, 0.0], abs=0.03)


def test_a_file_of_the_published_layout_labels_clips_and_keeps_the_irises(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = L2CS(L2CSConfig()).state_dict()
    state |= {"fc_finetune.weight": torch.zeros(3, 2051), "fc_finetune.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "l2cs.pkl")
    clips = write_clips(tmp_path / "clips", [made_clip("a", noise(2))])
    made = {name: tmp_path / name for name in ("pose", "iris", "l2cs")}
    for folder in made.values():
        folder.mkdir()
    make_pose_labels(clips, PoseLabelSettings(), made["pose"])
    make_gaze_labels(clips, made["pose"], GazeLabelSettings(), made["iris"])
    settings = GazeLabelSettings(backend="l2cs")
    make_gaze_labels(clips, made["pose"], settings, made["l2cs"], weights_at(tmp_path / "l2cs.pkl"))
    by_irises, told = (read_labels(made[name], GAZE_NAMES)["a"] for name in ("iris", "l2cs"))
    assert np.abs(told - by_irises).min() > 1e-4
    for name in ("iris", "l2cs"):
        np.testing.assert_array_equal(gaze_by_irises(made[name], GAZE_NAMES)["a"], by_irises)
    assert pq.read_schema(made["l2cs"] / IRIS_TABLE).names == GAZE_SCHEMA.names
    assert read_who_labelled(made["l2cs"]) == {"gaze": "l2cs 1 weights aaaaaaaa"}
    assert not (made["iris"] / IRIS_TABLE).exists()
