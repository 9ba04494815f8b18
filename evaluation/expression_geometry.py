"""Brows and smile from landmarks, in head coordinates: the head's pose is taken out first.

Neither the lips' opening nor the lids enter: brows are measured against the eyes' corners, the smile at the
mouth's corners.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocessing.face_points import (
    IMAGE_LEFT_EYE_CORNERS,
    IMAGE_LEFT_EYEBROW,
    IMAGE_RIGHT_EYE_CORNERS,
    IMAGE_RIGHT_EYEBROW,
    MOUTH_CORNERS,
)
from preprocessing.frame_of_reference import (
    CROP_CENTRE_PX,
    CROP_FOCAL_PX,
    REFERENCE_DISTANCE_CM,
    rotation_from_angles,
)
from preprocessing.mean_face import load_mean_face

_EYE_CORNERS: Final = IMAGE_LEFT_EYE_CORNERS + IMAGE_RIGHT_EYE_CORNERS
_BROWS: Final = IMAGE_LEFT_EYEBROW + IMAGE_RIGHT_EYEBROW


class Expression(NamedTuple):
    """Expression of every frame, in centimetres of a head as large as the mean face."""

    brow_raise: NDArray[np.float32]  # [T] height of the brows over the eyes' corners
    smile: NDArray[np.float32]  # [T] height of the mouth's corners over the eyes' corners, below 0


def measure_expression(landmarks_px: NDArray[np.float32], pose: NDArray[np.float32]) -> Expression:
    """Measure brows and smile in every frame.

    Args:
        landmarks_px: [T, 478, 2 or 3] landmarks in 224 px crop pixels; only x and y are read.
        pose: [T, 6] head pose of the same frames, `pose_mean_face.label_pose`'s.
    """
    eyes = head_points_cm(landmarks_px, pose, _EYE_CORNERS)
    brows = head_points_cm(landmarks_px, pose, _BROWS)
    mouth = head_points_cm(landmarks_px, pose, MOUTH_CORNERS)
    level = eyes[..., 1].mean(axis=1)
    return Expression(
        (brows[..., 1].mean(axis=1) - level).astype(np.float32),
        (mouth[..., 1].mean(axis=1) - level).astype(np.float32),
    )


def head_points_cm(
    landmarks_px: NDArray[np.float32], pose: NDArray[np.float32], points: tuple[int, ...]
) -> NDArray[np.float64]:
    """Landmarks in head coordinates, each taken to lie as deep as the mean face's vertex.

    The mesh's own depth is pulled towards a frontal face, so only its image points are used: each one's line
    of sight is met with the plane, square to the head's z axis, that holds the vertex.

    Returns:
        [T, P, 3] centimetres.
    """
    to_camera = rotation_from_angles(pose[:, :3])  # [T, 3, 3]
    place = landmarks_px[:, points, :2].astype(np.float64)
    ray = np.stack(
        [
            (place[..., 0] - CROP_CENTRE_PX) / CROP_FOCAL_PX,
            (CROP_CENTRE_PX - place[..., 1]) / CROP_FOCAL_PX,
            np.full(place.shape[:2], -1.0),
        ],
        axis=-1,
    )
    camera = np.array([0.0, 0.0, REFERENCE_DISTANCE_CM]) - pose[:, 3:].astype(np.float64)
    eye = np.einsum("tji,tj->ti", to_camera, camera)[:, None]  # the camera in head coordinates
    ray = np.einsum("tji,tpj->tpi", to_camera, ray)
    depth = load_mean_face().vertices_cm[list(points), 2]
    along = (depth - eye[..., 2]) / ray[..., 2]
    return eye + along[..., None] * ray
