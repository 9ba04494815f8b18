"""What of the backend face_landmarker can be held without its model; the rest is in tests/real."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.faces.shape.frame_of_reference import CROP_FOCAL_PX, project_to_crop, rotation_from_angles
from preprocessing.labellers.face_landmarker import (
    BLENDSHAPES,
    CAMERA_FOCAL_PX,
    CENTIMETRES_PER_UNIT,
    HEAD_ORIGIN_CM,
    FaceLandmarker,
    pose_from_matrix,
)


def matrix_of(
    angles_rad: tuple[float, float, float], origin: tuple[float, float, float]
) -> NDArray[np.float64]:
    """A matrix that turns the head so and puts the point between its eyes there."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_angles(np.array(angles_rad))
    matrix[:3, 3] = np.array(origin) - matrix[:3, :3] @ np.array(HEAD_ORIGIN_CM)
    return matrix


def test_focal_length_of_the_canvas_is_half_of_the_crops() -> None:
    # 336 px / tan(31.5°): half of a canvas of 672 px under half of 63°.
    assert pytest.approx(548.302, abs=1e-3) == CAMERA_FOCAL_PX


def test_pose_from_matrix_projects_to_the_same_place() -> None:
    pose = pose_from_matrix(matrix_of((0.1, -0.2, 0.05), (2.0, -1.0, -60.0)))
    np.testing.assert_allclose(pose[:3], [0.1, -0.2, 0.05], atol=1e-12)
    # 548.302 px * 2 / 60 = 18.277 px right of the middle and 9.138 px below it, in the canvas as in the crop.
    np.testing.assert_allclose(project_to_crop(pose[3:]), [112 + 18.277, 112 + 9.138], atol=1e-3)
    # As large as before: 548.302 / 60 px for a unit, which is 0.945 cm, is 1015 px / 104.961 cm.
    assert pose[5] == pytest.approx(100 - 104.961, abs=1e-3)
    assert pytest.approx(548.302 / 60, abs=1e-4) == CROP_FOCAL_PX * CENTIMETRES_PER_UNIT / 104.961


def test_there_are_52_distinct_blendshapes() -> None:
    assert len(set(BLENDSHAPES)) == 52
    mirrored = {name.replace("Left", "Right") for name in BLENDSHAPES if name.endswith("Left")}
    assert mirrored == {name for name in BLENDSHAPES if name.endswith("Right")}


def test_bad_model_files_are_errors_of_one_line(tmp_path: Path) -> None:
    model = tmp_path / "model.task"
    with pytest.raises(FileNotFoundError, match=r"^no model of face_landmarker at .*model\.task$"):
        FaceLandmarker(model)
    model.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ValueError, match=r"model\.task is not a MediaPipe task file, or is cut"):
        FaceLandmarker(model)
