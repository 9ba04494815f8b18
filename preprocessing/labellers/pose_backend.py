"""What every backend of `pose_labels` gives of a clip."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.frame_of_reference import project_to_crop, rotation_from_angles
from preprocessing.faces.landmark_groups import POSE_POINTS
from preprocessing.faces.mean_face import load_mean_face


class LabelledPose(NamedTuple):
    """The labels of T frames."""

    pose: NDArray[np.float32]  # [T, 6] pitch, yaw, roll rad; x, y, z cm
    residual_px: NDArray[np.float32]  # [T] how far the mean face of that pose lies from the landmarks
    coefficients: NDArray[np.float32] | None = None  # [T, 257] where Deep3D ran
    blendshapes: NDArray[np.float32] | None = None  # [T, 52] 0 to 1; NaN where no face was found
    frames_bridged: int = 0  # in which the backend found no face


def mean_face_residual_px(
    pose: NDArray[np.float32], landmarks_px: NDArray[np.float32]
) -> NDArray[np.float32]:
    """[T] root mean square distance, px, of the mean face's rigid points in a pose from the landmarks.

    The same figure as the default labeller's, which makes it as small as it can: of another labeller it
    tells how far both disagree.

    Args:
        pose: [T, 6] of any labeller.
        landmarks_px: [T, 478, 3] crop px.
    """
    points = list(POSE_POINTS)
    turned = load_mean_face().vertices_cm[points] @ np.swapaxes(rotation_from_angles(pose[:, :3]), -1, -2)
    shown = project_to_crop(turned + pose[:, None, 3:].astype(np.float64))
    apart = np.linalg.norm(shown - landmarks_px[:, points, :2], axis=-1)
    return np.sqrt(np.mean(apart**2, axis=-1)).astype(np.float32)
