"""Irises found in drawn eyes: where they are, and when the mesh's points stay."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.faces.iris_refinement import IrisSettings, mesh_iris_radius_px, refine_irises
from preprocessing.faces.shape.landmark_groups import (
    IMAGE_LEFT_EYE,
    IMAGE_LEFT_IRIS,
    IMAGE_RIGHT_EYE,
    IMAGE_RIGHT_IRIS,
)
from preprocessing.schema import LANDMARK_COUNT

IRISES = np.array([IMAGE_LEFT_IRIS, IMAGE_RIGHT_IRIS])
EYE_CENTRES_PX = np.array([[60.0, 60.0], [124.0, 60.0]])
PLAIN = IrisSettings(radius_over_mesh=1.0, mesh_right=0.0)


def mesh_points(radius_px: float = 6.0, opening_px: float = 6.0) -> NDArray[np.float32]:
    """[478, 3] eyes of 2.5 radii half width and `opening_px` half height, mesh irises in their middles."""
    points = np.zeros((LANDMARK_COUNT, 3), np.float32)
    for contour, iris, centre, outward in zip(
        (IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE), IRISES, EYE_CENTRES_PX, (-1.0, 1.0), strict=True
    ):
        turn = np.arange(16) * 2.0 * np.pi / 16  # outer corner, over the upper lid, inner corner
        points[list(contour), 0] = centre[0] + outward * 2.5 * radius_px * np.cos(turn)
        points[list(contour), 1] = centre[1] - opening_px * np.sin(turn)
        points[iris, :2] = centre
        points[iris[1:], :2] += radius_px * np.array([[1, 0], [0, -1], [-1, 0], [0, 1]])
    return points


def drawn_eyes(
    points: NDArray[np.float32],
    shift_px: tuple[float, float],
    radius_px: float = 6.0,
    iris: tuple[int, int, int] = (70, 48, 32),
    sclera: tuple[int, int, int] = (220, 210, 200),
    skin: tuple[int, int, int] = (180, 130, 110),
) -> NDArray[np.uint8]:
    """[128, 192, 3] dark discs at the eyes' middles plus `shift_px`, seen between the lids; drawn finely."""
    fine = 8
    image = np.full((128 * fine, 192 * fine, 3), skin, np.uint8)
    # Pixel centres lie at whole numbers: place x of the picture is fine * (x + 1/2) - 1/2 of the fine one.
    for contour, centre in zip((IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE), EYE_CENTRES_PX, strict=True):
        lids = np.rint(fine * (points[list(contour), :2] + 0.5) - 0.5).astype(np.int32)
        between = cv2.fillPoly(np.zeros(image.shape[:2], np.uint8), [lids], (1,))
        eye = np.full_like(image, sclera)
        x, y = np.rint(fine * (centre + shift_px + 0.5) - 0.5).astype(int).tolist()
        cv2.circle(eye, (x, y), round(fine * radius_px), iris, -1)
        image[between > 0] = eye[between > 0]
    return np.asarray(cv2.resize(image, (192, 128), interpolation=cv2.INTER_AREA), np.uint8)


def moved_px(refined: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float64]:
    """[2, 5, 2] by how much each iris point moved."""
    return (refined - points)[IRISES, :2].astype(np.float64)


@pytest.mark.parametrize("shift_px", [(0.0, 0.0), (1.5, 0.0), (0.0, -2.0), (-1.0, 2.0), (2.0, 1.0)])
def test_irises_move_to_the_drawn_discs(shift_px: tuple[float, float]) -> None:
    points = mesh_points()
    moved = moved_px(refine_irises(drawn_eyes(points, shift_px), points, PLAIN), points)
    np.testing.assert_allclose(moved, np.broadcast_to(shift_px, (2, 5, 2)), atol=0.5)


def test_blue_eyes_in_dark_skin_are_measured() -> None:
    points = mesh_points()
    image = drawn_eyes(points, (1.0, -1.5), iris=(96, 120, 138), skin=(70, 45, 35))
    moved = moved_px(refine_irises(image, points, PLAIN), points)
    np.testing.assert_allclose(moved, np.broadcast_to((1.0, -1.5), (2, 5, 2)), atol=0.5)


def test_rolled_head_is_measured_along_its_eyes() -> None:
    points = mesh_points()
    image = drawn_eyes(points, (1.0, -1.5))
    turn = cv2.getRotationMatrix2D((92.0, 60.0), 20.0, 1.0)
    rolled = points.copy()
    rolled[:, :2] = points[:, :2] @ turn[:, :2].T + turn[:, 2]
    turned = np.asarray(cv2.warpAffine(image, turn, (192, 128)), np.uint8)
    moved = moved_px(refine_irises(turned, rolled, PLAIN), rolled)
    want = np.array([1.0, -1.5]) @ turn[:, :2].T
    np.testing.assert_allclose(moved, np.broadcast_to(want, (2, 5, 2)), atol=0.5)


def test_irises_are_shifted_back_by_the_meshs_offset() -> None:
    points = mesh_points()
    image = drawn_eyes(points, (1.0, 0.0))
    plain = refine_irises(image, points, PLAIN)
    back = refine_irises(image, points, IrisSettings(radius_over_mesh=1.0, mesh_right=0.1))
    np.testing.assert_allclose(moved_px(back, plain)[..., 0], 0.6, atol=1e-4)  # a tenth of 6 px
    np.testing.assert_allclose(moved_px(back, plain)[..., 1], 0.0, atol=1e-4)


def test_only_iris_points_change() -> None:
    points = mesh_points()
    before = points.copy()
    refined = refine_irises(drawn_eyes(points, (1.0, 1.0)), points)
    others = np.setdiff1d(np.arange(LANDMARK_COUNT), IRISES)
    np.testing.assert_array_equal(points, before)
    np.testing.assert_array_equal(refined[others], points[others])
    np.testing.assert_array_equal(refined[IRISES, 2], points[IRISES, 2])
    assert refined.dtype == np.float32


def test_uniform_picture_keeps_the_mesh() -> None:
    points = mesh_points()
    flat = np.full((128, 192, 3), 90, np.uint8)
    np.testing.assert_array_equal(refine_irises(flat, points), points)
    noise = np.random.default_rng(1).integers(80, 100, (128, 192, 3)).astype(np.uint8)
    np.testing.assert_allclose(refine_irises(noise, points), points, atol=0.7)


def test_shut_eyes_and_tiny_irises_keep_the_mesh() -> None:
    shut = mesh_points(opening_px=1.0)
    np.testing.assert_array_equal(refine_irises(drawn_eyes(shut, (2.0, 0.0)), shut), shut)
    tiny = mesh_points(radius_px=2.4, opening_px=2.4)
    np.testing.assert_array_equal(refine_irises(drawn_eyes(tiny, (1.0, 0.0), 2.4), tiny), tiny)


def test_shut_eye_keeps_only_its_own_iris() -> None:
    points = mesh_points()
    points[list(IMAGE_LEFT_EYE), 1] = 60.0
    moved = moved_px(refine_irises(drawn_eyes(points, (1.5, 0.0)), points, PLAIN), points)
    np.testing.assert_array_equal(moved[0], np.zeros((5, 2)))
    np.testing.assert_allclose(moved[1], np.broadcast_to((1.5, 0.0), (5, 2)), atol=0.5)


def test_iris_radius_is_the_mean_of_both_rims() -> None:
    points = mesh_points(radius_px=5.0)
    points[list(IMAGE_RIGHT_IRIS[1:]), :2] = EYE_CENTRES_PX[1] + 7.0 * np.array(
        [[1, 0], [0, 1], [-1, 0], [0, -1]]
    )
    assert mesh_iris_radius_px(points[:, :2].astype(np.float64)) == pytest.approx(6.0)


def test_refine_irises_refuses_bad_input() -> None:
    points = mesh_points()
    image = np.zeros((128, 192, 3), np.uint8)
    with pytest.raises(ValueError, match="image is"):
        refine_irises(image[..., 0], points)
    with pytest.raises(ValueError, match="landmarks are"):
        refine_irises(image, points[:468])
    points[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        refine_irises(image, points)
