"""A dense picture-to-texture map of a triangle mesh, back to front, one remap per picture."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SUBPIXEL_BITS: Final = 4
STEEPEST: Final = 25.0  # texture pixels across one picture pixel: beyond, a triangle is seen edge-on


def dense_map(
    screen_px: NDArray[np.float64],
    texture_px: NDArray[np.float64],
    triangles: NDArray[np.int32],
    side_px: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Where each pixel of the picture lies in the texture.

    Args:
        screen_px: [V, 2] vertices in the picture.
        texture_px: [V, 2] the same vertices in the texture.
        triangles: [F, 3] in painting order: later ones cover earlier ones.
        side_px: side of the square picture.

    Returns:
        map_x, map_y [side, side] float32 texture coordinates, and [side, side] int32 the index in
        `triangles` of what is seen (-1: nothing).
    """
    import cv2

    index = np.full((side_px, side_px), -1, np.int32)
    corners = np.rint(screen_px[triangles] * (1 << SUBPIXEL_BITS)).astype(np.int32)
    for number, polygon in enumerate(corners):
        cv2.fillConvexPoly(index, polygon, (number,), cv2.LINE_8, SUBPIXEL_BITS)
    affine = triangle_affines(screen_px, texture_px, triangles)
    columns = np.arange(side_px, dtype=np.float32)[None, :]
    rows = np.arange(side_px, dtype=np.float32)[:, None]
    by_column, by_row, constant = affine[0][index], affine[1][index], affine[2][index]
    map_x = by_column * columns + by_row * rows + constant
    by_column, by_row, constant = affine[3][index], affine[4][index], affine[5][index]
    map_y = by_column * columns + by_row * rows + constant
    return map_x, map_y, index


def signed_areas_px(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """[F] twice the area of triangles [F, 3, 2]; the sign tells the sense of their corners."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def triangle_affines(
    screen_px: NDArray[np.float64], texture_px: NDArray[np.float64], triangles: NDArray[np.int32]
) -> NDArray[np.float32]:
    """[6, F] the affine map picture -> texture of each triangle.

    A triangle seen edge-on has no such map; it covers a pixel or two and takes its middle's colour.
    """
    screen, texture = screen_px[triangles], texture_px[triangles]
    first, second = screen[:, 1] - screen[:, 0], screen[:, 2] - screen[:, 0]
    along, across = texture[:, 1] - texture[:, 0], texture[:, 2] - texture[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    longest = np.maximum(np.linalg.norm(along, axis=1), np.linalg.norm(across, axis=1))
    thickness = np.abs(area) / np.maximum(np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)).clip(
        1e-9
    )
    flat = (np.abs(area) < 1.0) | (longest > STEEPEST * thickness)
    inverse = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, area))[:, None]
    by_x = (along * second[:, 1:] - across * first[:, 1:]) * inverse
    by_y = (across * first[:, :1] - along * second[:, :1]) * inverse
    origin = np.where(flat[:, None], texture.mean(axis=1), texture[:, 0])
    constant = origin - by_x * screen[:, 0, :1] - by_y * screen[:, 0, 1:]
    return (
        np.stack([by_x[:, 0], by_y[:, 0], constant[:, 0], by_x[:, 1], by_y[:, 1], constant[:, 1]], axis=1)
        .astype(np.float32)
        .T.copy()
    )
