"""Deep3D's labels: known poses through its alignment and back, and a checkpoint of the published layout."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.external.face_reconstruction import FaceReconstruction
from models.presets import preset_named
from preprocessing.faces.shape.frame_of_reference import angles_from_rotation, rotation_from_angles
from preprocessing.faces.shape.mean_face import load_mean_face
from preprocessing.labellers.backend import read_labellers
from preprocessing.labellers.pose_deep3d import (
    ANGLES,
    MODEL_POINTS,
    TRANSLATION,
    Alignment,
    aligned_picture,
    find_alignment,
    five_points,
    head_in_model,
    pose_from_coefficients,
)
from preprocessing.labellers.pose_mean_face import PoseSettings, fit_rigid_points
from preprocessing.labels.pose import PoseLabelSettings, make_pose_labels
from preprocessing.labels.tables import POSE_NAMES, read_coefficients, read_labels
from tests.factories.preprocessing.backends import landmarks_of, made_clip, noise, weights_at, write_clips
from weights.resolve import PRETRAINED_WEIGHTS_NAME

DEEP3D = PoseLabelSettings(backend="deep3d")


def coefficients_of(angles: NDArray[np.float64], translation: NDArray[np.float64]) -> NDArray[np.float64]:
    coefficients = np.zeros((len(angles), 257))
    coefficients[:, ANGLES], coefficients[:, TRANSLATION] = angles, translation
    return coefficients


def random_poses(count: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    turns = np.radians([25.0, 40.0, 20.0])
    places = np.array([3.0, 4.0, 20.0])
    bounds = np.concatenate([turns, places])
    return rng.uniform(-bounds, bounds, (count, 6))


def test_mean_face_and_model_share_orientation_and_scale() -> None:
    model = np.array(MODEL_POINTS)
    head = five_points(load_mean_face().vertices_cm[None])[0]
    left, _, right = np.linalg.svd((head - head.mean(0)).T @ (model - model.mean(0)))
    assert np.degrees(angles_from_rotation(left @ right)) == pytest.approx([0.0, 0.0, 0.0], abs=0.35)
    assert head_in_model().centimetres_per_unit == pytest.approx(9.85, abs=0.005)
    assert head_in_model().origin == pytest.approx([0.0, 0.312, 0.042], abs=0.001)


def test_pose_of_an_unmoved_crop_keeps_its_angles() -> None:
    poses = random_poses(20)
    alignment = Alignment(np.ones(20), np.full((20, 2), 112.0))
    head = head_in_model()
    turned = rotation_from_angles(poses[:, :3])
    # The head's origin at (x, y, z) cm, in units from a camera 10 units away.
    depth = (100.0 - poses[:, 5:]) / head.centimetres_per_unit
    place = np.concatenate([poses[:, 3:5] / head.centimetres_per_unit, 10.0 - depth], axis=1)
    pose = pose_from_coefficients(coefficients_of(poses[:, :3], place - turned @ head.origin), alignment)
    np.testing.assert_allclose(pose, poses, atol=1e-12)


def test_known_poses_survive_the_aligned_picture() -> None:
    """A perfect network's output: the pose that fits the aligned picture, converted to the crop camera."""
    poses = random_poses(200)
    shown = landmarks_of(poses)
    alignment = find_alignment(shown)
    aligned = alignment.scale[:, None, None] * (shown[..., :2] - alignment.centre_px[:, None]) + 112.0
    rigid = load_mean_face().vertices_cm[::7]
    fit = fit_rigid_points(rigid, aligned[:, ::7], PoseSettings(huber_px=100.0, iterations=20))
    head = head_in_model()
    depth = (100.0 - fit.translation_cm[:, 2:]) / head.centimetres_per_unit
    place = np.concatenate([fit.translation_cm[:, :2] / head.centimetres_per_unit, 10.0 - depth], axis=1)
    angles = angles_from_rotation(fit.rotation)
    pose = pose_from_coefficients(coefficients_of(angles, place - fit.rotation @ head.origin), alignment)
    error = np.abs(pose - poses)
    error[:, :3] = np.degrees(error[:, :3])
    # The rest is the aligned picture's perspective, which is weaker than its camera's.
    assert (error.mean(axis=0) < [0.2, 0.2, 0.06, 0.02, 0.02, 0.3]).all()
    # Unconverted angles ignore the line of sight: four times the error.
    raw = np.degrees(np.abs(angles - poses[:, :3])).mean(axis=0)
    assert (raw[:2] > 4 * error[:, :2].mean(axis=0)).all()


def test_alignment_of_the_models_own_points_is_exact() -> None:
    """102 px per unit, the model's origin in the middle, to a thousandth of a pixel."""
    landmarks = np.zeros((1, 478, 3), np.float32)
    points = 80.0 * np.array(MODEL_POINTS)[:, :2] * [1.0, -1.0] + [100.0, 130.0]
    for index, point in zip(((33, 133), (263, 362), (1,), (61,), (291,)), points, strict=True):
        landmarks[0, list(index), :2] = point
    alignment = find_alignment(landmarks)
    assert alignment.scale[0] == pytest.approx(102.0 / 80.0, rel=1e-5)
    np.testing.assert_allclose(alignment.centre_px[0], [100.0, 130.0], atol=1e-3)


def test_alignment_refuses_coinciding_points() -> None:
    with pytest.raises(ValueError, match=r"five points of a face coincide: 0\.0 px per unit of"):
        find_alignment(np.zeros((2, 478, 3), np.float32))


def test_aligned_picture_is_scaled_cropped_and_padded() -> None:
    crop = np.zeros((224, 224, 3), np.uint8)
    crop[99:102, 59:62] = 255  # its middle is (60, 100)
    aligned = aligned_picture(crop, 2.0, np.array([60.0, 100.0]))
    rows, columns = np.nonzero(aligned[..., 0] > 127)
    assert (rows.mean(), columns.mean()) == pytest.approx((112.0, 112.0), abs=0.51)
    assert aligned[..., 0].sum() / 255 == pytest.approx(36, abs=2)  # three pixels by three, doubled
    np.testing.assert_array_equal(aligned_picture(crop, 1.0, np.array([112.0, 112.0])), crop)
    assert not aligned_picture(np.full_like(crop, 9), 0.5, np.array([112.0, 112.0]))[:50].any()


def test_published_layout_labels_clips_and_keeps_coefficients(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = FaceReconstruction(preset_named("official").face_reconstruction)
    with torch.no_grad():
        for parameter in network.final_layers.parameters():
            parameter.mul_(0.1)  # keeps the angles of random weights small
    torch.save({"net_recon": network.state_dict(), "epoch": 20}, tmp_path / "epoch_20.pth")
    clip = made_clip("a", noise(2))
    weights = weights_at(tmp_path / "epoch_20.pth")
    (tmp_path / "labels").mkdir()
    report = make_pose_labels(write_clips(tmp_path / "clips", [clip]), DEEP3D, tmp_path / "labels", weights)
    assert report.counts == {"clips": 1, "frames": 2}
    coefficients = read_coefficients(tmp_path / "labels")["a"]
    alignment = find_alignment(clip.landmarks_px)
    pose = read_labels(tmp_path / "labels", POSE_NAMES)["a"]
    np.testing.assert_allclose(pose, pose_from_coefficients(coefficients, alignment), rtol=1e-5, atol=1e-6)
    assert read_labellers(tmp_path / "labels") == {"pose": "deep3d 1 weights aaaaaaaa"}
    assert (tmp_path / "labels" / PRETRAINED_WEIGHTS_NAME).is_file()


def test_bad_checkpoints_are_errors_of_one_line(tmp_path: Path) -> None:
    clips = write_clips(tmp_path / "clips", [made_clip("a", noise(1))])
    with pytest.raises(FileNotFoundError, match=r"^no weights at .*epoch_20\.pth$"):
        make_pose_labels(clips, DEEP3D, tmp_path, weights_at(tmp_path / "epoch_20.pth"))
    torch.save({"net_recon": {"backbone.conv1.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "other.pth").read_bytes()[:400])
    for name in ("other.pth", "cut.pth"):
        with pytest.raises(ValueError, match=name) as caught:
            make_pose_labels(clips, DEEP3D, tmp_path, weights_at(tmp_path / name))
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ValueError, match=r"^backend deep3d needs deep3d_weights .*, got no file$"):
        make_pose_labels(clips, DEEP3D, tmp_path)
