"""What a face does, read with gradients by MediaPipe's face mesh and iris networks, for control consistency.

Readings compare between people, as far as possible: angles of the head, and lengths in units of the face.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from models.external.face_mesh import FaceMeshNetworks, FaceReading
from models.external.mesh_measures import DISTANCE_FLOOR, EYES_APART, eye_measures
from preprocessing.faces.shape.expression import CORNER_DROP
from preprocessing.faces.shape.landmark_groups import POSE_POINTS
from preprocessing.faces.shape.mean_face import load_mean_face

LIP_GAPS: Final = ((13, 14), (82, 87), (312, 317))  # inner lips, upper and lower
IMAGE_AXES: Final = (1.0, -1.0, -1.0)
"""From the mesh (x right, y down, z away from the camera) to head coordinates (y up, z to the camera)."""
CORNERS_TO_EYES: Final = ((61, 33), (291, 263))  # corners of the mouth, outer corners of the eyes
BROWS_TO_EYES: Final = ((105, 33), (105, 133), (334, 263), (334, 362))
GAZE_RAD: Final = 2.5
"""Angle of the eyes per eye width that an iris moves: the width is 2.5 times the eyeball's radius."""
READ_SHARES: Final = (0.28, 0.73, 0.65, 0.7)
"""What `readout_measures` read of a change of gaze pitch and yaw, smile and brow raise, in crops of 96 px. Of
rendered heads: lids hide most of an iris that turns up or down."""


class ControlReadings(nn.Module):
    """Pose [B, 3], mouth [B, 1], gaze [B, 4] and lids [B, 2] of crops [B, 3, S, S], RGB in [-1, 1]."""

    def __init__(self, networks: FaceMeshNetworks) -> None:
        super().__init__()
        self.networks = networks
        shape = load_mean_face().vertices_cm[list(POSE_POINTS)]
        fit = np.linalg.pinv(shape - shape.mean(axis=0))
        self.fit = nn.Buffer(torch.from_numpy(fit).float(), persistent=False)  # [3, P]
        left, right = load_mean_face().vertices_cm[list(EYES_APART)]
        self.eyes_apart_cm = float(np.linalg.norm(left - right))

    @override
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Readings by name, see `training.losses.codes.control_consistency`."""
        return self.measure(self.networks(image))

    def measure(self, reading: FaceReading) -> dict[str, Tensor]:
        """The same of a face that was read already."""
        gaze, lids = eye_measures(reading)
        return {"pose": self.angles(reading.mesh), "mouth": lip_gap(reading.mesh), "gaze": gaze, "lids": lids}

    def readout_measures(self, reading: FaceReading) -> Tensor:
        """What the readouts' dimensions of the eye and the expression code say, in the labels' units.

        [B, 4]: gaze pitch and yaw, rad, smile and brow raise, cm. Each person's zero differs, and so does the
        scale (`READ_SHARES`). Distances in space, so they hardly change with the head's pose.
        """
        gaze, _ = eye_measures(reading)
        sideways, down = gaze.unflatten(1, (2, 2)).mean(dim=1).unbind(dim=1)
        gap = lip_gap(reading.mesh)[:, 0]
        smile = CORNER_DROP * gap - distance(reading.mesh, CORNERS_TO_EYES)
        brows = distance(reading.mesh, BROWS_TO_EYES)
        cm = torch.stack([smile, brows], dim=1) * self.eyes_apart_cm
        return torch.cat([torch.stack([down, sideways], dim=1) * GAZE_RAD, cm], dim=1)

    def angles(self, mesh: Tensor) -> Tensor:
        """Pitch, yaw, roll [B, 3] in rad of meshes [B, 468, 3], signs as in the labels.

        Of the affine map that takes the mean face to the mesh's rigid points, which is a linear fit.
        """
        points = mesh[:, list(POSE_POINTS)] * mesh.new_tensor(IMAGE_AXES)
        axes = self.fit @ (points - points.mean(dim=1, keepdim=True))  # [B, 3 of the head, 3 of the camera]
        right, forward = axes[:, 0], axes[:, 2]
        yaw = torch.atan2(forward[:, 0], forward[:, 2])
        pitch = torch.atan2(-forward[:, 1], forward[:, 2])
        roll = torch.atan2(right[:, 1], right[:, 0])
        return torch.stack([pitch, yaw, roll], dim=1)


def lip_gap(mesh: Tensor) -> Tensor:
    """Mean gap of the inner lips [B, 1] of meshes [B, 468, 3], in distances of the eyes' outer corners."""
    return distance(mesh, LIP_GAPS)[:, None]


def distance(mesh: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Mean distance [B] of pairs of points of meshes [B, 468, 3], in that of the eyes' outer corners."""
    first, second = (mesh[:, list(points)] for points in zip(*pairs, strict=True))
    eyes = mesh[:, EYES_APART[0]] - mesh[:, EYES_APART[1]]
    lengths = torch.linalg.vector_norm(first - second + DISTANCE_FLOOR, dim=2).mean(dim=1)
    return lengths / torch.linalg.vector_norm(eyes, dim=1)
