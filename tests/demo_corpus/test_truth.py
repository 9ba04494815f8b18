import numpy as np
import pytest

from demo_corpus.rendering.camera import Camera
from demo_corpus.truth import apparent_pose, pose_in_crop
from preprocessing.faces.shape.frame_of_reference import project_to_crop, rotation_from_angles

CAMERA = Camera(384)


def test_head_facing_an_off_axis_camera_is_frontal() -> None:
    # 10 cm to the image's right, 100 cm away: the camera stands atan(0.1) towards image-left.
    towards = rotation_from_angles(np.array([0.0, -np.arctan2(10.0, 100.0), 0.0]))
    pose = apparent_pose(towards, np.array([10.0, 0.0, 0.0]))
    assert pose == pytest.approx([0, 0, 0, 10, 0, 0], abs=1e-12)


def test_head_above_the_axis_appears_to_look_up() -> None:
    pose = apparent_pose(np.eye(3), np.array([0.0, 10.0, 0.0]))
    assert pose[:3] == pytest.approx([-np.arctan2(10.0, 100.0), 0, 0])


def test_pose_in_crop_projects_to_the_crop() -> None:
    angles = np.array([0.1, -0.3, 0.2])
    position = np.array([3.0, 2.0, 5.0])
    head_cm = np.array([[0.0, 0, 0], [3.1, 0, 0], [-3.1, 0, 0], [0, -8, 3], [0, -4, 5]])
    rotation = rotation_from_angles(angles)
    turn, scale = 0.15, 1.1
    crop = np.array(
        [
            [scale * np.cos(turn), -scale * np.sin(turn), -70.0],
            [scale * np.sin(turn), scale * np.cos(turn), -110.0],
        ]
    )
    pose = apparent_pose(rotation, position)
    (in_crop,) = pose_in_crop(pose[None], crop[None], CAMERA)
    seen = CAMERA.project(head_cm @ rotation.T + position) @ crop[:, :2].T + crop[:, 2]
    projected = project_to_crop(head_cm @ rotation_from_angles(in_crop[:3]).T + in_crop[3:])
    assert projected[0] == pytest.approx(seen[0], abs=1e-9)
    # The two cameras' distances differ, so off the origin only their perspectives disagree.
    assert np.abs(projected - seen).max() < 1.5


def test_rotated_crop_changes_roll_only() -> None:
    pose = apparent_pose(rotation_from_angles(np.array([0.1, 0.2, 0.0])), np.zeros(3))
    turn = 0.3
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.full(2, CAMERA.centre_px)
    crop = np.column_stack([matrix, np.full(2, 112.0) - matrix @ middle])
    (in_crop,) = pose_in_crop(pose[None], crop[None], CAMERA)
    assert in_crop[:3] == pytest.approx([0.1, 0.2, -turn])
