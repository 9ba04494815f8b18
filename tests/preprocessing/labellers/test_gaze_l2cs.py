"""L2CS's gaze in head coordinates, and its input pictures. The network itself: tests/models."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typing_extensions import override

from models.external.l2cs import L2CS, L2CSConfig
from preprocessing.faces.shape.frame_of_reference import (
    direction_from_gaze,
    gaze_from_direction,
    rotation_from_angles,
    turn_to_camera,
)
from preprocessing.labellers.backend import read_labellers
from preprocessing.labellers.gaze_iris import GazeClip, GazeLabels
from preprocessing.labellers.gaze_l2cs import L2CSGaze, face_picture, gaze_in_head
from preprocessing.labels.gaze import (
    GazeLabelSettings,
    make_gaze_labels,
    read_iris_gaze,
)
from preprocessing.labels.pose import PoseLabelSettings, make_pose_labels
from preprocessing.labels.tables import GAZE_NAMES, read_labels
from tests.factories.preprocessing.backends import made_clip, noise, weights_at, write_clips


def poses(count: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (count, 6)) * [0.4, 0.6, 0.3, 5.0, 5.0, 20.0]


def test_turn_to_camera_is_the_smallest_rotation() -> None:
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


def test_gaze_into_the_camera_cancels_head_and_position() -> None:
    """In the head, an eye that looks into the camera looks to the camera's position."""
    pose = poses(30)
    camera_in_head = (
        np.swapaxes(rotation_from_angles(pose[:, :3]), 1, 2)
        @ (np.array([0.0, 0.0, 100.0]) - pose[:, 3:])[..., None]
    )[..., 0]
    gaze = gaze_in_head(np.zeros((30, 2)), pose.astype(np.float32))
    np.testing.assert_allclose(gaze, gaze_from_direction(camera_in_head), atol=1e-6)


def test_gaze_of_a_frontal_head_on_the_axis_is_unchanged() -> None:
    gaze = np.array([[0.2, -0.3], [-0.1, 0.4]])
    np.testing.assert_allclose(gaze_in_head(gaze, np.zeros((2, 6), np.float32)), gaze, atol=1e-12)


def test_head_turn_is_subtracted_from_a_fixed_gaze() -> None:
    turned = np.array([[0.0, 0.25, 0.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0, 0.0, 0.0]], np.float32)
    gaze = gaze_in_head(np.zeros((2, 2)), turned)
    np.testing.assert_allclose(gaze, [[0.0, -0.25], [-0.1, 0.0]], atol=1e-7)
    assert direction_from_gaze(gaze[0])[0] < 0  # to the image's left


def test_face_picture_is_the_enlarged_box_of_landmarks() -> None:
    clip = made_clip("a", [np.full((224, 224, 3), 90, np.uint8)])
    picture = face_picture(clip.frames_jpeg[0], clip.landmarks_px[0])
    assert picture.shape == (448, 448, 3)
    assert np.abs(picture.astype(int) - 90).max() <= 2
    corner = clip.landmarks_px[0] - [400.0, 0.0, 0.0]  # a face that has left the crop
    assert face_picture(clip.frames_jpeg[0], corner.astype(np.float32)).shape == (448, 448, 3)


class MeanColour(torch.nn.Module):
    """Returns each picture's mean red and green."""

    @override
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=(2, 3))[:, :2]


def test_pictures_are_normalised_by_imagenet_statistics() -> None:
    clip = made_clip("a", [np.full((224, 224, 3), (124, 116, 104), np.uint8)])
    labeller = L2CSGaze(MeanColour())
    iris = GazeLabels(np.zeros((1, 2), np.float32), np.ones(1, np.bool_))
    item = GazeClip(clip, np.zeros((1, 6), np.float32), iris, 1.0)
    assert labeller.label(labeller.prepare(item))[0] == pytest.approx([0.0, 0.0], abs=0.03)


def test_published_layout_labels_clips_and_keeps_iris_gaze(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = L2CS(L2CSConfig()).state_dict()
    state |= {"fc_finetune.weight": torch.zeros(3, 2051), "fc_finetune.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "l2cs.pkl")
    clips = write_clips(tmp_path / "clips", [made_clip("a", noise(2))])
    folders = {name: tmp_path / name for name in ("pose", "iris", "l2cs")}
    for folder in folders.values():
        folder.mkdir()
    make_pose_labels(clips, PoseLabelSettings(), folders["pose"])
    make_gaze_labels(clips, folders["pose"], GazeLabelSettings(), folders["iris"])
    settings = GazeLabelSettings(backend="l2cs")
    make_gaze_labels(clips, folders["pose"], settings, folders["l2cs"], weights_at(tmp_path / "l2cs.pkl"))
    iris, l2cs = (read_labels(folders[name], GAZE_NAMES)["a"] for name in ("iris", "l2cs"))
    assert np.abs(l2cs - iris).min() > 1e-4
    for name in ("iris", "l2cs"):
        np.testing.assert_array_equal(read_iris_gaze(folders[name], GAZE_NAMES)["a"], iris)
    assert read_labellers(folders["l2cs"]) == {"gaze": "l2cs 1 weights aaaaaaaa", "blink": "lid_gap 2"}
    assert read_labellers(folders["iris"]) == {"gaze": "iris_eyeball 3", "blink": "lid_gap 2"}
