"""Head pose by the mean face: exactness on its own projections, signs, robustness."""

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.faces.shape.frame_of_reference import project_to_crop, rotation_from_angles
from preprocessing.faces.shape.landmark_groups import NOSE_TIP
from preprocessing.faces.shape.mean_face import load_mean_face
from preprocessing.labellers.pose_mean_face import label_pose


def project_mean_face(pose: NDArray[np.float64]) -> NDArray[np.float32]:
    """[T, 6] -> [T, 478, 3] landmarks; z is left zero, for the fit must not read it."""
    vertices = load_mean_face().vertices_cm
    camera = np.einsum("tij,pj->tpi", rotation_from_angles(pose[:, :3]), vertices) + pose[:, None, 3:]
    image = project_to_crop(camera)
    return np.concatenate([image, np.zeros((*image.shape[:2], 1))], axis=-1).astype(np.float32)


def test_poses_up_to_40_degrees_are_exact() -> None:
    random = np.random.default_rng(7)
    pose = np.concatenate(
        [random.uniform(-np.radians(40), np.radians(40), (60, 3)), random.uniform(-6, 6, (60, 3))], axis=1
    )
    pose[:, 5] = random.uniform(-60, 10, 60)
    labels = label_pose(project_mean_face(pose))
    np.testing.assert_allclose(labels.pose[:, :3], pose[:, :3], atol=1e-4)
    np.testing.assert_allclose(labels.pose[:, 3:5], pose[:, 3:5], atol=1e-3)
    np.testing.assert_allclose(labels.pose[:, 5], pose[:, 5], atol=1e-2)
    assert labels.residual_px.max() < 1e-3


def test_nose_tip_moves_with_the_signs_of_the_angles() -> None:
    turned = np.zeros((4, 6))
    turned[1, 0] = turned[2, 1] = turned[3, 2] = 0.2
    landmarks = project_mean_face(turned)
    still, pitched, yawed, rolled = landmarks[:, NOSE_TIP, :2]
    assert pitched[1] > still[1] + 5.0  # looks down: y grows
    assert yawed[0] > still[0] + 5.0  # looks to the image's right
    assert rolled[0] > still[0] + 3.0  # counter-clockwise: the nose, below the eyes, swings right
    np.testing.assert_allclose(label_pose(landmarks).pose[:, :3], turned[:, :3], atol=1e-4)


def test_translation_signs_and_centimetres() -> None:
    moved = np.zeros((3, 6))
    moved[0, 3] = moved[1, 4] = moved[2, 5] = 5.0
    landmarks = project_mean_face(moved)
    # 1015 px / 100 cm: 5 cm are 50.75 px.
    np.testing.assert_allclose(landmarks[0, 6, 0] - landmarks[2, 6, 0], 52.0, atol=3.0)
    assert landmarks[1, 6, 1] < landmarks[0, 6, 1] - 45.0
    np.testing.assert_allclose(label_pose(landmarks).pose[:, 3:], moved[:, 3:], atol=1e-2)


def test_half_a_pixel_of_noise_is_below_half_a_degree() -> None:
    random = np.random.default_rng(3)
    pose = np.zeros((200, 6))
    pose[:, :3] = random.uniform(-0.4, 0.4, (200, 3))
    pose[:, 5] = -28.0
    landmarks = project_mean_face(pose) + random.normal(0, 0.5, (200, 478, 3)).astype(np.float32)
    error_deg = np.degrees(np.abs(label_pose(landmarks).pose[:, :3] - pose[:, :3]))
    assert np.median(error_deg, axis=0).max() < 0.5


def test_pose_is_robust_to_a_few_outliers() -> None:
    pose = np.zeros((1, 6))
    pose[0, 1] = 0.3
    landmarks = project_mean_face(pose)
    landmarks[0, [234, 127, 162], 0] += 30.0
    assert np.degrees(np.abs(label_pose(landmarks).pose[0, :3] - pose[0, :3])).max() < 1.0


def test_poses_of_frames_are_independent() -> None:
    random = np.random.default_rng(1)
    pose = np.concatenate([random.uniform(-0.3, 0.3, (8, 3)), random.uniform(-3, 3, (8, 3))], axis=1)
    landmarks = project_mean_face(pose) + random.normal(0, 1, (8, 478, 3)).astype(np.float32)
    together, alone = label_pose(landmarks).pose, label_pose(landmarks[5:6]).pose
    np.testing.assert_allclose(together[5:6], alone, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 468, 3), (478, 3), (4, 478, 1)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="landmarks are"):
        label_pose(np.zeros(shape, np.float32))


def test_missing_landmarks_are_refused() -> None:
    landmarks = project_mean_face(np.zeros((1, 6)))
    landmarks[0, 4, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        label_pose(landmarks)
