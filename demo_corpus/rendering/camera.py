"""The camera that films the demo heads, with the axes of `preprocessing.faces.shape.frame_of_reference`."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.shape.frame_of_reference import REFERENCE_DISTANCE_CM

FIELD_CM: Final = 38.0  # width of the field of view at the reference distance: head and shoulders
HEAD_REST_CM: Final = np.array([0.0, 2.5, 0.0])  # neutral head origin: eyes above the centre


@dataclass(frozen=True)
class Camera:
    """A pinhole camera on the z axis, REFERENCE_DISTANCE_CM in front of the reference point."""

    side_px: int

    @property
    def focal_px(self) -> float:
        """Focal length: FIELD_CM fills the picture at the reference distance."""
        return self.side_px * REFERENCE_DISTANCE_CM / FIELD_CM

    @property
    def centre_px(self) -> float:
        """Principal point, both axes; pixel centres are whole numbers."""
        return (self.side_px - 1) / 2

    def project(self, points_cm: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """[..., 3] cm from the reference point -> [..., 2] px, x right, y down."""
        points = np.asarray(points_cm, np.float64)
        scale = self.focal_px / (REFERENCE_DISTANCE_CM - points[..., 2:])
        return self.centre_px + points[..., :2] * scale * np.array([1.0, -1.0])

    def ray(self, pixels: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """[..., 2] px -> [..., 3] directions of the viewing rays, z = -1."""
        flat = (np.asarray(pixels, np.float64) - self.centre_px) / self.focal_px * np.array([1.0, -1.0])
        return np.concatenate([flat, np.full((*flat.shape[:-1], 1), -1.0)], axis=-1)

    @property
    def position_cm(self) -> NDArray[np.float64]:
        """[3] position of the camera."""
        return np.array([0.0, 0.0, REFERENCE_DISTANCE_CM])
