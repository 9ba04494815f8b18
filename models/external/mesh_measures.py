"""Measures of a face from the points that MediaPipe's networks read: expression, gaze, lids.

Shape letters: B samples.
"""

from typing import Final

import torch
from torch import Tensor

from models.external.face_mesh import EYE_CORNERS, FaceReading

EXPRESSION_DISTANCES: Final = (
    *((13, 14), (61, 291), (78, 308), (0, 17), (82, 87), (312, 317)),  # lips: opening, width, height
    *((61, 33), (291, 263), (61, 2), (291, 2), (152, 2)),  # corners to eyes and nose; jaw
    *((105, 33), (105, 133), (334, 263), (334, 362), (107, 168), (336, 168), (55, 285)),  # brows
    *((159, 145), (386, 374)),  # lids
)
"""Pairs of mesh points whose distances describe an expression; ours."""
EYES_APART: Final = (33, 263)  # outer corners: the unit of the distances
LOWER_LID: Final = slice(2, 7)  # of the 71 contour points: 0 and 8 are the corners
UPPER_LID: Final = slice(10, 15)
DISTANCE_FLOOR: Final = 1e-6  # so that two points at one place have a gradient


def expression_distances(reading: FaceReading) -> Tensor:
    """Distances [B, 20] of `EXPRESSION_DISTANCES` in units of that of the eyes.

    Points in space, so turning and moving the head leaves them unchanged.
    """
    first, second = (reading.mesh[:, list(points)] for points in zip(*EXPRESSION_DISTANCES, strict=True))
    left, right = (reading.mesh[:, point] for point in EYES_APART)
    unit = torch.linalg.vector_norm(left - right, dim=1, keepdim=True)
    return torch.linalg.vector_norm(first - second + DISTANCE_FLOOR, dim=2) / unit


def eye_measures(reading: FaceReading) -> tuple[Tensor, Tensor]:
    """Gaze [B, 4] and lid opening [B, 2] of both eyes, in the eyes' own axes and widths.

    Gaze: x towards the image's right and y down of the iris' centre from the middle of the eye's corners.
    """
    corners = torch.stack([reading.mesh[:, list(pair), :2] for pair in EYE_CORNERS], dim=1)  # [B, 2, 2, 2]
    axis = corners[:, :, 1] - corners[:, :, 0]
    width = torch.linalg.vector_norm(axis, dim=2, keepdim=True)
    across = axis / width
    down = torch.stack([-across[..., 1], across[..., 0]], dim=2)
    offset = (reading.irises[:, :, 0] - corners.mean(dim=2)) / width
    gaze = torch.stack([(offset * across).sum(dim=2), (offset * down).sum(dim=2)], dim=2)
    lid = reading.contours[:, :, LOWER_LID].mean(dim=2) - reading.contours[:, :, UPPER_LID].mean(dim=2)
    lids = ((lid / width) * down).sum(dim=2)
    return gaze.flatten(1), lids
