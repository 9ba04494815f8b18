"""The squares of pretrained networks against their own alignments, and the resampling."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from preprocessing.faces.alignment import (
    SIX_POINT_LEFT_EYE,
    SIX_POINT_RIGHT_EYE,
    AlignmentSettings,
    crop_transforms,
    transform_landmarks,
)
from preprocessing.faces.shape.frame_of_reference import project_to_crop
from preprocessing.faces.shape.landmark_groups import (
    FACE_OVAL,
    IMAGE_LEFT_EYEBROW,
    IMAGE_RIGHT_EYEBROW,
    MOUTH_CORNERS,
)
from preprocessing.faces.shape.mean_face import load_mean_face
from training.stages.pictures.perceptual_networks import (
    DEEP3D_SQUARE,
    EMONET_SQUARE,
    L2CS_SQUARE,
    CropSquare,
    crop_square,
)

NOSE_TIP, CHIN = 1, 152
DEEP3D_POINTS = np.array(
    [
        (-0.31149, 0.29036, 0.13378),
        (0.30980, 0.28972, 0.13180),
        (0.00325, -0.04618, 0.55244),
        (-0.25217, -0.38134, 0.22406),
        (0.24847, -0.38128, 0.22236),
    ]
)


@pytest.fixture(scope="module")
def face_px() -> NDArray[np.float64]:
    """The mean face's landmarks [478, 2] in the official crop, px from its left and upper edge."""
    points = project_to_crop(load_mean_face().vertices_cm)
    landmarks = np.concatenate([points, np.zeros((478, 1))], axis=1)[None].astype(np.float32)
    transforms = crop_transforms(landmarks, AlignmentSettings())
    return transform_landmarks(landmarks, transforms)[0, :, :2].astype(np.float64) + 0.5


def almost(square: CropSquare, left_px: float, top_px: float, side_px: float) -> None:
    values = (square.left_px, square.top_px, square.side_px)
    assert values == pytest.approx((left_px, top_px, side_px), abs=0.3)


def test_deep3d_square_is_its_alignments(face_px: NDArray[np.float64]) -> None:
    eyes = [face_px[list(group)].mean(axis=0) for group in (SIX_POINT_LEFT_EYE, SIX_POINT_RIGHT_EYE)]
    five = np.stack([*eyes, face_px[NOSE_TIP], *face_px[list(MOUTH_CORNERS)]])
    # Weak perspective by least squares (POS): each image axis is linear in the model's points.
    model = np.column_stack([DEEP3D_POINTS, np.ones(5)])
    right, up = (np.linalg.lstsq(model, axis, rcond=None)[0] for axis in (five[:, 0], -five[:, 1]))
    scale = (np.linalg.norm(right[:3]) + np.linalg.norm(up[:3])) / 2
    side = float(224 * scale / 102)
    almost(DEEP3D_SQUARE, right[3] - side / 2, -up[3] - side / 2, side)


def test_l2cs_square_is_from_forehead_to_chin(face_px: NDArray[np.float64]) -> None:
    low, high = face_px.min(axis=0), face_px.max(axis=0)
    side = high[1] - low[1]
    assert side > high[0] - low[0]
    almost(L2CS_SQUARE, (low[0] + high[0] - side) / 2, low[1], side)


def test_emonet_square_is_its_landmark_box(face_px: NDArray[np.float64]) -> None:
    outline = face_px[list(FACE_OVAL)]
    left, right, bottom = outline[:, 0].min(), outline[:, 0].max(), face_px[CHIN, 1]
    top = face_px[[*IMAGE_LEFT_EYEBROW, *IMAGE_RIGHT_EYEBROW], 1].min()
    side = (right - left + bottom - top) / 1.1
    almost(EMONET_SQUARE, (left + right - side) / 2, (top + bottom - side) / 2, side)


def test_square_of_the_whole_crop_is_the_image() -> None:
    image = torch.rand(2, 3, 8, 8) * 2 - 1
    torch.testing.assert_close(crop_square(image, CropSquare(0.0, 0.0, 224.0), 8), (image + 1) / 2)


@pytest.mark.parametrize("side_px", [4, 16])
def test_square_is_independent_of_resolution(side_px: int) -> None:
    quarters = torch.tensor([[-1.0, -0.5], [0.5, 1.0]]).repeat_interleave(side_px // 2, 0)
    image = quarters.repeat_interleave(side_px // 2, 1).expand(1, 3, side_px, side_px)
    # Well within the lower left quarter, whatever the resolution.
    result = crop_square(image, CropSquare(left_px=30.0, top_px=142.0, side_px=50.0), 5)
    torch.testing.assert_close(result, torch.full((1, 3, 5, 5), 0.75))


def test_crop_square_edges() -> None:
    image = torch.full((1, 3, 224, 224), -1.0)
    image[..., 100:] = 1.0
    result = crop_square(image, CropSquare(left_px=90.0, top_px=0.0, side_px=20.0), 20)
    assert result[0, 0, 3].tolist() == pytest.approx([0.0] * 10 + [1.0] * 10, abs=1e-4)


def test_crop_square_is_black_beyond_the_crop() -> None:
    result = crop_square(torch.ones(1, 3, 28, 28), CropSquare(left_px=-112.0, top_px=0.0, side_px=224.0), 28)
    assert result[..., :13].abs().max() == 0
    torch.testing.assert_close(result[..., 15:], torch.ones(1, 3, 28, 13))


def test_crop_square_gradient_reaches_its_pixels_only() -> None:
    image = torch.zeros(1, 3, 16, 16, requires_grad=True)
    crop_square(image, CropSquare(left_px=0.0, top_px=0.0, side_px=112.0), 8).sum().backward()
    assert image.grad is not None
    assert (image.grad[..., :8, :8] > 0).all()
    assert image.grad[..., 10:, :].abs().max() == 0


@pytest.mark.parametrize("side_px", [0.0, -1.0, float("nan")])
def test_crop_square_needs_a_positive_side(side_px: float) -> None:
    with pytest.raises(ValueError, match="side_px must be > 0"):
        CropSquare(0.0, 0.0, side_px)
