"""How a face moves: one displacement field per control, smooth over the mesh.

Each field is given at a few vertices (lips, chin, lids, brows) and zero at a few others; in
between it is harmonic on the mesh's graph, so that movement fades out evenly over the skin and
the rings around the face, and never jumps across the slit of the lids or lips.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo_corpus.head import Head
from demo_corpus.rendering.topology import (
    BROWS,
    CHEEKS,
    CHIN_POINTS,
    IMAGE_LEFT_LID_FOLD,
    IMAGE_LEFT_LOWER_MARGIN,
    IMAGE_LEFT_UPPER_MARGIN,
    IMAGE_RIGHT_LID_FOLD,
    IMAGE_RIGHT_LOWER_MARGIN,
    IMAGE_RIGHT_UPPER_MARGIN,
    LOWER_INNER_LIP,
    LOWER_OUTER_LIP,
    NOSE,
    UPPER_INNER_LIP,
    UPPER_OUTER_LIP,
)
from preprocessing.faces.shape.landmark_groups import FACE_OVAL
from preprocessing.faces.shape.mean_face import EYEBALL_RADIUS_CM

LID_THICKNESS_CM: Final = 0.08
EYELIDS: Final = (
    (IMAGE_LEFT_UPPER_MARGIN, IMAGE_LEFT_LOWER_MARGIN, IMAGE_LEFT_LID_FOLD),
    (IMAGE_RIGHT_UPPER_MARGIN, IMAGE_RIGHT_LOWER_MARGIN, IMAGE_RIGHT_LID_FOLD),
)
# Lid margins are fixed in every control but the blinks, so that only blinks open and close the eyes.
LIDS: Final = tuple(vertex for upper, lower, _ in EYELIDS for vertex in {*upper, *lower})
CONTROLS: Final = ("mouth_opening", "mouth_spread", "smile", "brow_raise", "blink_left", "blink_right")


@dataclass(frozen=True)
class Controls:
    """The expression of a face in one frame."""

    mouth_opening_cm: float = 0.0  # gap of the inner lips
    mouth_spread: float = 0.0  # -1 rounded .. 1 spread
    smile: float = 0.0  # 0 .. 1
    brow_raise: float = 0.0  # 0 .. 1
    blink_left: float = 0.0  # image-left eye, 0 open .. 1 shut
    blink_right: float = 0.0  # image-right eye


@dataclass(frozen=True)
class FaceRig:
    """A head's displacement fields, [V, 3] cm per unit of each control, in CONTROLS' order."""

    head: Head
    fields: NDArray[np.float64] = field(repr=False)  # [6, V, 3]

    def vertices_cm(self, controls: Controls) -> NDArray[np.float64]:
        """[V, 3] head coordinates of the moved face."""
        strengths = np.array(
            [
                controls.mouth_opening_cm,
                controls.mouth_spread,
                controls.smile,
                controls.brow_raise,
                controls.blink_left,
                controls.blink_right,
            ]
        )
        moved = self.head.vertices_cm + np.tensordot(strengths, self.fields, axes=1)
        for (upper, lower, fold), centre in zip(EYELIDS, self.head.eyeballs_cm, strict=True):
            _keep_before_eyeball(moved, [*upper, *lower, *fold], centre)
        return moved


def build_rig(head: Head) -> FaceRig:
    """Solve the displacement fields of a head. Needs scipy."""
    shape = head.vertices_cm
    fixed = [int(vertex) for vertex in np.flatnonzero(head.follow < 0.25)]
    cranium = [vertex for vertex in FACE_OVAL if shape[vertex, 1] > -2.0]
    constraints = [
        _jaw(shape, fixed + cranium),
        _spread(shape, fixed + list(FACE_OVAL)),
        _smile(shape, fixed + list(FACE_OVAL)),
        _brow(shape, fixed),
        _blink(shape, *EYELIDS[0]),
        _blink(shape, *EYELIDS[1]),
    ]
    fields = [_harmonic(head, known) for known in constraints]
    gap = fields[0][UPPER_INNER_LIP[5], :] - fields[0][LOWER_INNER_LIP[5], :]
    fields[0] /= np.linalg.norm(gap)  # one unit is one centimetre of inner-lip gap
    return FaceRig(head, np.stack(fields))


Known = dict[int, tuple[float, float, float]]
ZERO: Final = (0.0, 0.0, 0.0)


def _jaw(shape: NDArray[np.float64], fixed: list[int]) -> Known:
    known: Known = dict.fromkeys([*fixed, *NOSE, *CHEEKS, *LIDS], ZERO)
    corner = abs(float(shape[291, 0]))
    for inner, row_share in ((LOWER_INNER_LIP, 1.0), (LOWER_OUTER_LIP, 0.95)):
        for vertex in inner:
            share = 0.16 + 0.84 * (1 - min(abs(shape[vertex, 0]) / corner, 1.0) ** 2.5)
            known[vertex] = (0.0, -share * row_share, -0.22 * share * row_share)
    for inner, row_share in ((UPPER_INNER_LIP, 0.1), (UPPER_OUTER_LIP, 0.08)):
        for vertex in inner[1:-1]:
            share = 1 - min(abs(shape[vertex, 0]) / corner, 1.0) ** 2
            known[vertex] = (0.0, share * row_share - 0.16 * (1 - share), 0.0)
    known |= dict.fromkeys(CHIN_POINTS, (0.0, -0.85, -0.25))
    return known


def _spread(shape: NDArray[np.float64], fixed: list[int]) -> Known:
    known: Known = dict.fromkeys([*fixed, 4, 1, 94, 152, 175, *LIDS], ZERO)
    corner = abs(float(shape[291, 0]))
    for vertex in {*UPPER_INNER_LIP, *LOWER_INNER_LIP, *UPPER_OUTER_LIP, *LOWER_OUTER_LIP}:
        across = float(shape[vertex, 0]) / corner
        known[vertex] = (0.42 * across, 0.0, -0.25 * (1 - across**2) - 0.1)
    return known


def _smile(shape: NDArray[np.float64], fixed: list[int]) -> Known:
    known: Known = dict.fromkeys([*fixed, 4, 1, 152, 175, *LIDS], ZERO)
    corner = abs(float(shape[291, 0]))
    for vertex in {*UPPER_INNER_LIP, *LOWER_INNER_LIP, *UPPER_OUTER_LIP, *LOWER_OUTER_LIP}:
        across = float(shape[vertex, 0]) / corner
        known[vertex] = (0.35 * across, 0.42 * across**2, -0.15 * across**2)
    for vertex in CHEEKS:
        known[vertex] = (0.06 * float(np.sign(shape[vertex, 0])), 0.2, 0.08)
    return known


def _brow(shape: NDArray[np.float64], fixed: list[int]) -> Known:
    known: Known = dict.fromkeys([*fixed, 6, 197, *CHEEKS, *LIDS], ZERO)
    for vertex in BROWS:
        inner = 1 - 0.35 * abs(abs(float(shape[vertex, 0])) - 3.2) / 3.2
        known[vertex] = (0.0, 0.6 * inner, 0.05)
    known[10] = known[151] = (0.0, 0.15, 0.0)
    return known


def _blink(
    shape: NDArray[np.float64], upper: tuple[int, ...], lower: tuple[int, ...], fold: tuple[int, ...]
) -> Known:
    known: Known = dict.fromkeys(range(len(shape)), ZERO)
    for above, below in zip(upper, lower, strict=True):
        meeting = shape[above] * 0.15 + shape[below] * 0.85
        known[above] = _triple(meeting - shape[above])
        known[below] = _triple(meeting - shape[below])
    for skin, above in zip(fold, upper[1:-1], strict=True):
        known[skin] = _triple(0.42 * np.asarray(known[above]))
    return known


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])


def _harmonic(head: Head, known: Known) -> NDArray[np.float64]:
    """[V, 3] the field with the known values that is harmonic on the mesh's graph elsewhere."""
    from scipy.sparse import coo_matrix, diags
    from scipy.sparse.linalg import spsolve

    count = len(head.vertices_cm)
    pairs = np.concatenate([head.triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    length = np.linalg.norm(head.vertices_cm[pairs[:, 0]] - head.vertices_cm[pairs[:, 1]], axis=1)
    weight = 1 / np.maximum(length, 0.05)
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    graph = coo_matrix((np.tile(weight, 2), (rows, columns)), shape=(count, count)).tocsr()
    laplacian = (diags(np.asarray(graph.sum(axis=1)).ravel()) - graph).tocsr()
    result = np.zeros((count, 3))
    fixed = np.array(sorted(known))
    result[fixed] = [known[vertex] for vertex in fixed]
    free = np.setdiff1d(np.arange(count), fixed)
    if len(free):
        system = laplacian[free][:, free].tocsc()
        result[free] = spsolve(system, -laplacian[free][:, fixed] @ result[fixed])
    return result


def _keep_before_eyeball(
    vertices: NDArray[np.float64], lids: list[int], centre_cm: NDArray[np.float64]
) -> None:
    """Push lid vertices forward, in place, so that lids slide over the eyeball."""
    relative = vertices[lids] - centre_cm
    radius = EYEBALL_RADIUS_CM + LID_THICKNESS_CM
    front = np.sqrt(np.maximum(radius**2 - (relative[:, :2] ** 2).sum(axis=1), 0.0))
    vertices[lids, 2] = np.maximum(vertices[lids, 2], centre_cm[2] + front)
