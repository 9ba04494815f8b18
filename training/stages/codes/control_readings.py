"""What a face does, read with gradients by MediaPipe's face mesh and iris networks, for control consistency.

Readings compare between people, as far as possible: angles of the head, and lengths in units of the face.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from models.external.face_mesh import FaceMeshNetworks, FaceReading
from models.external.mesh_measures import DISTANCE_FLOOR, EYES_APART, eye_measures
from preprocessing.faces.shape.landmark_groups import POSE_POINTS
from preprocessing.faces.shape.mean_face import load_mean_face

LIP_GAPS: Final = ((13, 14), (82, 87), (312, 317))  # inner lips, upper and lower
IMAGE_AXES: Final = (1.0, -1.0, -1.0)
"""From the mesh (x right, y down, z away from the camera) to head coordinates (y up, z to the camera)."""


class ControlReadings(nn.Module):
    """Pose [B, 3], mouth [B, 1], gaze [B, 4] and lids [B, 2] of crops [B, 3, S, S], RGB in [-1, 1]."""

    def __init__(self, networks: FaceMeshNetworks) -> None:
        super().__init__()
        self.networks = networks
        shape = load_mean_face().vertices_cm[list(POSE_POINTS)]
        fit = np.linalg.pinv(shape - shape.mean(axis=0))
        self.fit = nn.Buffer(torch.from_numpy(fit).float(), persistent=False)  # [3, P]

    @override
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Readings by name, see `training.losses.codes.control_consistency`."""
        reading: FaceReading = self.networks(image)
        gaze, lids = eye_measures(reading)
        return {"pose": self.angles(reading.mesh), "mouth": lip_gap(reading.mesh), "gaze": gaze, "lids": lids}

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
    upper, lower = (mesh[:, list(points)] for points in zip(*LIP_GAPS, strict=True))
    eyes = mesh[:, EYES_APART[0]] - mesh[:, EYES_APART[1]]
    gaps = torch.linalg.vector_norm(upper - lower + DISTANCE_FLOOR, dim=2).mean(dim=1, keepdim=True)
    return gaps / torch.linalg.vector_norm(eyes, dim=1, keepdim=True)
