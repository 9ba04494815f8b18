"""The two crops: where the points land, and that a pixel's centre stays its centre."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.faces.alignment import (
    EIGHT_POINT_INNER_LIPS,
    EYES_AND_MOUTH,
    SIX_POINT_LEFT_EYE,
    SIX_POINT_RIGHT_EYE,
    AlignmentSettings,
    crop_transforms,
    transform_landmarks,
)

OFFICIAL = AlignmentSettings()
SQUARE = AlignmentSettings(mode="square")
# The official places in the 224 px frame, then rows 0:192 and columns 16:208 enlarged to 224.
EYES_AND_MOUTH_PX = np.array([[87.0, 59.0], [137.0, 59.0], [112.0, 120.0]])
IN_THE_CROP_PX = (EYES_AND_MOUTH_PX - [16.0, 0.0] + 0.5) * 7 / 6 - 0.5


def face(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Landmarks [T, 478, 3] with both eyes and the mouth at points [T, 3, 2], the rest at the mouth."""
    landmarks = np.zeros((len(points), 478, 3), np.float32)
    landmarks[..., :2] = points[:, 2:]
    landmarks[:, list(SIX_POINT_LEFT_EYE), :2] = points[:, :1]
    landmarks[:, list(SIX_POINT_RIGHT_EYE), :2] = points[:, 1:2]
    landmarks[:, list(EIGHT_POINT_INNER_LIPS), :2] = points[:, 2:]
    return landmarks


def test_official_crop_places_eyes_and_mouth() -> None:
    turned = np.array([[0.0, -2.0], [2.0, 0.0]])  # a quarter turn, twice the size
    landmarks = face((EYES_AND_MOUTH_PX @ turned.T + [300.0, 40.0])[None])
    moved = transform_landmarks(landmarks, crop_transforms(landmarks, OFFICIAL))
    for group, expected in zip(EYES_AND_MOUTH, IN_THE_CROP_PX, strict=True):
        np.testing.assert_allclose(moved[0, list(group), :2], np.tile(expected, (len(group), 1)), atol=1e-3)


def test_official_crop_smooths_the_mouth_shift() -> None:
    # Same size throughout; the head moves 0, 10, 0 px to the right: average 10/3.
    shifts = np.array([0.0, 10.0, 0.0])
    landmarks = face(EYES_AND_MOUTH_PX + shifts[:, None, None] * [1.0, 0.0])
    moved = transform_landmarks(landmarks, crop_transforms(landmarks, OFFICIAL))
    wanted = 10 / 3 - shifts  # what would hold each mouth still
    pin = [wanted[0], 0.2 * wanted[0] + 0.8 * wanted[1]]
    pin.append(0.2 * pin[1] + 0.8 * wanted[2])
    expected = IN_THE_CROP_PX[2, 0] + (np.array(pin) - wanted) * 7 / 6
    np.testing.assert_allclose(moved[:, EIGHT_POINT_INNER_LIPS[0], 0], expected, atol=1e-4)
    np.testing.assert_allclose(moved[:, EIGHT_POINT_INNER_LIPS[0], 1], IN_THE_CROP_PX[2, 1], atol=1e-4)


def test_official_map_equals_its_steps_one_by_one() -> None:
    """A bright dot goes through OpenCV's own warp, slice and resize, and through our one map."""
    picture = np.zeros((260, 260), np.float32)
    cv2.circle(picture, (131, 97), 6, (1.0,), -1, cv2.LINE_AA)
    turn, shift = np.array([[1.1, 0.1], [-0.1, 1.1]]), np.array([4.0, -9.0])
    places = (EYES_AND_MOUTH_PX - shift) @ np.linalg.inv(turn).T
    transform = crop_transforms(face(places[None]), OFFICIAL)[0].astype(np.float64)
    aligned = cv2.warpAffine(picture, np.column_stack([turn, shift]), (224, 224))
    stepwise = cv2.resize(aligned[0:192, 16:208], (224, 224))
    at_once = cv2.warpAffine(picture, transform, (224, 224))
    np.testing.assert_allclose(centre_of(at_once), centre_of(stepwise), atol=0.05)
    landmark = np.zeros((1, 478, 3), np.float32)
    landmark[..., :2] = (131, 97)
    np.testing.assert_allclose(
        centre_of(at_once),
        transform_landmarks(landmark, transform[None].astype(np.float32))[0, 0, :2],
        atol=0.05,
    )


def test_square_crop_is_fixed_around_the_average_box() -> None:
    landmarks = np.zeros((2, 478, 3), np.float32)
    landmarks[:, 0, :2], landmarks[:, 1:, :2] = (10.0, 20.0), (50.0, 120.0)  # box 40 x 100 at (30, 70)
    landmarks[1, :, 0] += 8.0  # average centre (34, 70)
    transforms = crop_transforms(landmarks, SQUARE)
    zoom = 224 / 180
    np.testing.assert_allclose(
        transforms[0], [[zoom, 0, 111.5 - 34 * zoom], [0, zoom, 111.5 - 70 * zoom]], atol=1e-4
    )
    np.testing.assert_array_equal(transforms[0], transforms[1])


def test_square_crop_of_a_picture_equals_cv2_resize() -> None:
    # Box of 100 px in the middle of a 180 px picture: the crop is the picture, enlarged.
    landmarks = np.zeros((1, 478, 3), np.float32)
    landmarks[:, 0, :2], landmarks[:, 1:, :2] = 39.5, 139.5
    picture = np.zeros((180, 180), np.float32)
    cv2.circle(picture, (60, 121), 5, (1.0,), -1, cv2.LINE_AA)
    warped = cv2.warpAffine(picture, crop_transforms(landmarks, SQUARE)[0].astype(np.float64), (224, 224))
    np.testing.assert_allclose(centre_of(warped), centre_of(cv2.resize(picture, (224, 224))), atol=0.02)


def test_transform_landmarks_scales_depth() -> None:
    landmarks = np.zeros((1, 478, 3), np.float32)
    landmarks[..., 2] = -4.0
    transform = np.array([[[0.0, -3.0, 1.0], [3.0, 0.0, 2.0]]], np.float32)
    np.testing.assert_allclose(transform_landmarks(landmarks, transform)[0, 0], [1.0, 2.0, -12.0])


def test_crop_transforms_refuses_bad_landmarks() -> None:
    with pytest.raises(ValueError, match=r"landmarks are \[2, 468, 3\]"):
        crop_transforms(np.zeros((2, 468, 3), np.float32), OFFICIAL)
    with pytest.raises(ValueError, match="all source points coincide"):
        crop_transforms(np.zeros((2, 478, 3), np.float32), OFFICIAL)


def centre_of(picture: NDArray[np.generic]) -> NDArray[np.float64]:
    """Centre of mass (x, y) of a bright dot on black."""
    weights = np.asarray(picture, np.float64)
    rows, columns = np.indices(weights.shape)
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()
