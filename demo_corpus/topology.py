"""The face mesh's triangles, the holes of eyes and mouth, and the vertices that controls move.

Vertices are MediaPipe's first 468 face-mesh points (the ten iris points belong to no triangle).
The wheel carries the mesh's edges only; triangles are the cliques of three edges.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

FACE_VERTICES: Final = 468
# Lid margins from the temple's corner to the nose's, in the sense of the image: "image-left" is
# the eye on the picture's left side.
IMAGE_LEFT_UPPER_LID: Final = (33, 246, 161, 160, 159, 158, 157, 173, 133)
IMAGE_LEFT_LOWER_LID: Final = (33, 7, 163, 144, 145, 153, 154, 155, 133)
IMAGE_RIGHT_UPPER_LID: Final = (263, 466, 388, 387, 386, 385, 384, 398, 362)
IMAGE_RIGHT_LOWER_LID: Final = (263, 249, 390, 373, 374, 380, 381, 382, 362)
# The rows of lid skin next to the margins, ordered alike.
IMAGE_LEFT_LID_FOLD: Final = (247, 30, 29, 27, 28, 56, 190)
IMAGE_RIGHT_LID_FOLD: Final = (467, 260, 259, 257, 258, 286, 414)
IMAGE_LEFT_IRIS: Final = (468, 469, 470, 471, 472)
IMAGE_RIGHT_IRIS: Final = (473, 474, 475, 476, 477)
UPPER_INNER_LIP: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER_LIP: Final = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
UPPER_OUTER_LIP: Final = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LOWER_OUTER_LIP: Final = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
BROWS: Final = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
CHIN: Final = (152, 148, 176, 377, 400, 175, 199, 171, 396)
CHEEKS: Final = (50, 280, 205, 425, 101, 330)
NOSE: Final = (1, 2, 4, 5, 6, 19, 94, 97, 98, 122, 129, 168, 195, 197, 326, 327, 351, 358)


@dataclass(frozen=True)
class FaceTopology:
    """Triangles and boundary loops of the face mesh."""

    triangles: NDArray[np.int32] = field(repr=False)  # [852, 3] vertex numbers
    oval: tuple[int, ...]  # 36 vertices round the face, starting at the top, towards image-right


@cache
def face_topology() -> FaceTopology:
    """The mesh's triangles and its outline. Imports mediapipe: call it inside workers only."""
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    edges = {(min(edge), max(edge)) for edge in FACEMESH_TESSELATION}
    neighbours: dict[int, set[int]] = {vertex: set() for vertex in range(FACE_VERTICES)}
    for first, second in edges:
        neighbours[first].add(second)
        neighbours[second].add(first)
    cliques = [
        (first, second, third)
        for first, second in sorted(edges)
        for third in sorted(neighbours[first] & neighbours[second])
        if third > second
    ]
    uses = _edge_uses(cliques)
    # Beside each nostril three triangles surround a fourth clique that is no face of the mesh:
    # every one of its edges then borders three cliques.
    triangles = [clique for clique in cliques if not all(uses[edge] == 3 for edge in _edges(clique))]
    boundary = [edge for edge, count in _edge_uses(triangles).items() if count == 1]
    return FaceTopology(np.asarray(triangles, np.int32), _loop(boundary, start=10, towards=338))


def eye_loop(upper: tuple[int, ...], lower: tuple[int, ...]) -> list[int]:
    """The closed polygon of a lid or lip opening: along the upper row, back along the lower one."""
    return [*upper, *lower[-2:0:-1]]


def _edges(triangle: tuple[int, int, int]) -> list[tuple[int, int]]:
    first, second, third = triangle
    return [(first, second), (second, third), (first, third)]


def _edge_uses(triangles: list[tuple[int, int, int]]) -> dict[tuple[int, int], int]:
    uses: dict[tuple[int, int], int] = {}
    for triangle in triangles:
        for edge in _edges(triangle):
            uses[edge] = uses.get(edge, 0) + 1
    return uses


def _loop(boundary: list[tuple[int, int]], start: int, towards: int) -> tuple[int, ...]:
    """Walk boundary edges from `start` by way of `towards` until they close."""
    following: dict[int, list[int]] = {}
    for first, second in boundary:
        following.setdefault(first, []).append(second)
        following.setdefault(second, []).append(first)
    loop = [start, towards]
    while True:
        step = next(vertex for vertex in following[loop[-1]] if vertex != loop[-2])
        if step == start:
            return tuple(loop)
        loop.append(step)
