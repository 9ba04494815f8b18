"""The face mesh's triangles, and the landmark rows that the controls of a demo head move.

Vertices are MediaPipe's first 468 face-mesh points; the ten iris points belong to no triangle.
MediaPipe publishes the mesh's edges only; triangles are the cliques of three edges.
"""

from collections import Counter
from functools import cache
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.shape import landmark_groups as groups

FACE_VERTICES: Final = 468


def _between(corners: tuple[int, ...], row: tuple[int, ...]) -> tuple[int, ...]:
    return (corners[0], *row, corners[1])


# Lid margins with both corners, from the temple's to the nose's. "Image-left" is the eye on the
# picture's left side.
IMAGE_LEFT_UPPER_MARGIN: Final = _between(groups.IMAGE_LEFT_EYE_CORNERS, groups.IMAGE_LEFT_UPPER_LID)
IMAGE_LEFT_LOWER_MARGIN: Final = _between(groups.IMAGE_LEFT_EYE_CORNERS, groups.IMAGE_LEFT_LOWER_LID)
IMAGE_RIGHT_UPPER_MARGIN: Final = _between(groups.IMAGE_RIGHT_EYE_CORNERS, groups.IMAGE_RIGHT_UPPER_LID)
IMAGE_RIGHT_LOWER_MARGIN: Final = _between(groups.IMAGE_RIGHT_EYE_CORNERS, groups.IMAGE_RIGHT_LOWER_LID)
# The rows of lid skin above the upper margins, in the same order.
IMAGE_LEFT_LID_FOLD: Final = (247, 30, 29, 27, 28, 56, 190)
IMAGE_RIGHT_LID_FOLD: Final = (467, 260, 259, 257, 258, 286, 414)
# Lip rows from the image-left to the image-right corner, both included.
UPPER_INNER_LIP: Final = groups.LIPS_INNER[:11]
LOWER_INNER_LIP: Final = (groups.LIPS_INNER[0], *groups.LIPS_INNER[:9:-1])
UPPER_OUTER_LIP: Final = groups.LIPS_OUTER[:11]
LOWER_OUTER_LIP: Final = (groups.LIPS_OUTER[0], *groups.LIPS_OUTER[:9:-1])
BROWS: Final = groups.IMAGE_LEFT_EYEBROW + groups.IMAGE_RIGHT_EYEBROW
CHIN_POINTS: Final = (152, 148, 176, 377, 400, 175, 199, 171, 396)
CHEEKS: Final = (50, 280, 205, 425, 101, 330)
NOSE: Final = (1, 2, 4, 5, 6, 19, 94, 97, 98, 122, 129, 168, 195, 197, 326, 327, 351, 358)


@cache
def face_triangles() -> NDArray[np.int32]:
    """[852, 3] vertex indices of the mesh's triangles. Imports mediapipe: call it inside workers only."""
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
    uses = Counter(edge for clique in cliques for edge in combinations(clique, 2))
    # Beside each nostril three triangles surround a fourth clique that is no face of the mesh:
    # every one of its edges then borders three cliques.
    triangles = [clique for clique in cliques if not all(uses[edge] == 3 for edge in combinations(clique, 2))]
    return np.asarray(triangles, np.int32)


def closed_loop(upper: tuple[int, ...], lower: tuple[int, ...]) -> list[int]:
    """The closed polygon of a lid or lip opening: along the upper row, back along the lower one."""
    return [*upper, *lower[-2:0:-1]]
