"""Backend `mean_face` of `pose_labels`, the default: the mean face's rigid points fitted to the landmarks.

The face mesh's own depth is biased towards a frontal face, so only its image points are used: for every
frame, find the rotation and translation that project the rigid points of the mean face
(`preprocessing.faces.shape.mean_face`) onto the landmarks in perspective. Huber weights limit the pull of
outliers, all frames are solved at once, and nothing is smoothed over time.

Limit: the mesh lags behind a nodding head. On the demo corpus it follows 0.95 of the yaw but 0.75 of the
pitch, even when the true shape is fitted instead of the mean face.

Frame of reference, angles and signs: `preprocessing.faces.shape.frame_of_reference`.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from preprocessing.faces.shape.frame_of_reference import (
    CROP_CENTRE_PX,
    CROP_FOCAL_PX,
    REFERENCE_DISTANCE_CM,
    angles_from_rotation,
    project_to_crop,
    rotation_from_angles,
)
from preprocessing.faces.shape.landmark_groups import POSE_POINTS
from preprocessing.faces.shape.mean_face import load_mean_face
from preprocessing.labellers.backend import Backend, ClipLabeller
from preprocessing.schema import LANDMARK_COUNT, Clip
from storage.settings import Settings

NAME: Final = "mean_face"
VERSION: Final = "2"


class PoseSettings(Settings):
    """How the mean face is fitted."""

    huber_px: float = Field(
        default=1.5, ge=0.01, description="Huber threshold: residual above which a point's weight falls"
    )
    iterations: int = Field(
        default=6,
        ge=1,
        le=100,
        description="Iterations of the fit, always all, so that poses do not depend on other frames",
    )


class PoseLabels(NamedTuple):
    """Labels of T frames, by any backend of `pose_labels`."""

    pose: NDArray[np.float32]  # [T, 6] pitch, yaw, roll rad; x, y, z cm
    residual_px: NDArray[np.float32]  # [T] RMS distance of the mean face's rigid points from the landmarks
    coefficients: NDArray[np.float32] | None = None  # [T, 257] of Deep3D
    blendshapes: NDArray[np.float32] | None = None  # [T, 52] 0 to 1; NaN where no face was detected
    frames_bridged: int = 0  # without a detected face


class RigidFit(NamedTuple):
    """Rotations and translations of head coordinates into camera coordinates."""

    rotation: NDArray[np.float64]  # [T, 3, 3]
    translation_cm: NDArray[np.float64]  # [T, 3]
    residual_px: NDArray[np.float64]  # [T, P] distance of each point


def label_pose(landmarks_px: NDArray[np.float32], settings: PoseSettings | None = None) -> PoseLabels:
    """Label the head pose of every frame.

    Args:
        landmarks_px: [T, 478, 3] or [T, 478, 2] landmarks in crop pixels; only x and y are read.
        settings: of the fit; the defaults if None.

    Raises:
        ValueError: the landmarks are not [T, 478, 2 or 3] or not finite.
    """
    settings = settings or PoseSettings()
    if landmarks_px.ndim != 3 or landmarks_px.shape[1] != LANDMARK_COUNT or landmarks_px.shape[2] < 2:
        raise ValueError(f"landmarks are {list(landmarks_px.shape)}, need [T, {LANDMARK_COUNT}, 2 or 3]")
    points_px = landmarks_px[:, POSE_POINTS, :2].astype(np.float64)
    if not np.isfinite(points_px).all():
        raise ValueError("landmarks contain a value that is not finite")
    fit = fit_rigid_points(load_mean_face().vertices_cm[list(POSE_POINTS)], points_px, settings)
    pose = np.concatenate([angles_from_rotation(fit.rotation), fit.translation_cm], axis=-1)
    residual_px = np.sqrt(np.mean(fit.residual_px**2, axis=-1))
    return PoseLabels(pose.astype(np.float32), residual_px.astype(np.float32))


class MeanFacePose(ClipLabeller[Clip, Clip, PoseLabels]):
    """Labels clips by their landmarks alone."""

    def __init__(self, settings: PoseSettings) -> None:
        self._settings = settings

    @override
    def prepare(self, item: Clip) -> Clip:
        """The clip itself: no picture is decoded."""
        return item

    @override
    def label(self, prepared: Clip) -> PoseLabels:
        """Label a clip."""
        return label_pose(prepared.landmarks_px, self._settings)


BACKEND: Final = Backend(name=NAME, version=VERSION, factory=MeanFacePose, settings=("mean_face",))


def mean_face_residual_px(
    pose: NDArray[np.float32], landmarks_px: NDArray[np.float32]
) -> NDArray[np.float32]:
    """RMS distance [T] in px between the landmarks and the mean face's rigid points in any labeller's pose.

    `label_pose` minimises this distance, so for another labeller it measures the disagreement with it.

    Args:
        pose: [T, 6].
        landmarks_px: [T, 478, 3] crop px.
    """
    points = list(POSE_POINTS)
    rotated = load_mean_face().vertices_cm[points] @ np.swapaxes(rotation_from_angles(pose[:, :3]), -1, -2)
    projected = project_to_crop(rotated + pose[:, None, 3:].astype(np.float64))
    distance = np.linalg.norm(projected - landmarks_px[:, points, :2], axis=-1)
    return np.sqrt(np.mean(distance**2, axis=-1)).astype(np.float32)


def fit_rigid_points(
    model_cm: NDArray[np.float64], points_px: NDArray[np.float64], settings: PoseSettings
) -> RigidFit:
    """Fit a rigid set of points to image points in perspective, all frames at once.

    Robust Gauss-Newton on the distance in the picture; each step applies a small rotation vector on the
    camera's side and a translation.

    Args:
        model_cm: [P, 3] points in head coordinates, P >= 4 and not all in one plane.
        points_px: [T, P, 2] their image points, crop pixels.
        settings: Huber scale and number of steps.
    """
    rotation, translation = _scaled_orthography(model_cm, points_px)
    for _ in range(settings.iterations):
        rotated = rotation @ model_cm.T
        error, jacobian = _error_and_jacobian(rotated, translation, points_px)
        weight = settings.huber_px / np.maximum(_distance_px(error), settings.huber_px)
        weighted = jacobian * np.tile(weight, 2)[:, None]
        normal = weighted @ np.swapaxes(jacobian, -1, -2)
        step = np.linalg.solve(normal, -(weighted @ error[..., None]))[..., 0]
        rotation = _rotation_from_vector(step[:, :3]) @ rotation
        translation = translation + REFERENCE_DISTANCE_CM * step[:, 3:]
    error, _ = _error_and_jacobian(rotation @ model_cm.T, translation, points_px)
    return RigidFit(rotation, translation, _distance_px(error))


def _distance_px(error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lengths [T, P] of errors [T, 2P], all x before all y."""
    across, up = np.split(error, 2, axis=-1)
    return np.hypot(across, up)


def _scaled_orthography(
    model_cm: NDArray[np.float64], points_px: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation [T, 3, 3] and translation [T, 3] under an orthographic camera: the initial estimate."""
    homogeneous = np.concatenate([model_cm, np.ones((len(model_cm), 1))], axis=1)
    image = np.stack([points_px[..., 0] - CROP_CENTRE_PX, CROP_CENTRE_PX - points_px[..., 1]], axis=1)
    affine = np.einsum("qp,tkp->tkq", np.linalg.pinv(homogeneous), image)  # [T, 2, 4]
    left, singular, right = np.linalg.svd(affine[..., :3], full_matrices=False)
    scale = singular.mean(axis=-1)  # px per cm
    upper = left @ right
    rotation = np.concatenate([upper, np.cross(upper[:, 0], upper[:, 1])[:, None]], axis=1)
    depth_cm = CROP_FOCAL_PX / scale
    across_cm = affine[..., 3] * (depth_cm / CROP_FOCAL_PX)[:, None]
    return rotation, np.concatenate([across_cm, (REFERENCE_DISTANCE_CM - depth_cm)[:, None]], axis=1)


def _error_and_jacobian(
    rotated_cm: NDArray[np.float64], translation_cm: NDArray[np.float64], points_px: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Projection minus observation [T, 2P] px (x right, y up; all x first), its derivative [T, 6, 2P].

    `rotated_cm` is [T, 3, P]. The six rows are a rotation vector applied on the camera's side, in rad, and
    the translation in units of 100 cm, so that all steps have a similar scale.
    """
    x, y, z = (rotated_cm[:, axis] for axis in range(3))
    depth = REFERENCE_DISTANCE_CM - z - translation_cm[:, 2:]
    per_cm = CROP_FOCAL_PX / depth
    right = per_cm * (x + translation_cm[:, :1])
    up = per_cm * (y + translation_cm[:, 1:2])
    points = points_px.shape[1]
    error = np.empty((len(points_px), 2 * points))
    error[:, :points] = right - (points_px[..., 0] - CROP_CENTRE_PX)
    error[:, points:] = up - (CROP_CENTRE_PX - points_px[..., 1])
    # A small rotation w moves a point by w x rotated; moving closer by dz magnifies by dz / depth.
    right_by_z, up_by_z = right / depth, up / depth
    jacobian = np.zeros((len(points_px), 6, 2 * points))
    jacobian[:, 0, :points] = y * right_by_z
    jacobian[:, 1, :points] = z * per_cm - x * right_by_z
    jacobian[:, 2, :points] = -y * per_cm
    jacobian[:, 0, points:] = y * up_by_z - z * per_cm
    jacobian[:, 1, points:] = -x * up_by_z
    jacobian[:, 2, points:] = x * per_cm
    jacobian[:, 3, :points] = jacobian[:, 4, points:] = REFERENCE_DISTANCE_CM * per_cm
    jacobian[:, 5, :points] = REFERENCE_DISTANCE_CM * right_by_z
    jacobian[:, 5, points:] = REFERENCE_DISTANCE_CM * up_by_z
    return error, jacobian


def _rotation_from_vector(vector_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rodrigues' formula: [T, 3] rotation vectors -> [T, 3, 3]."""
    angle = np.linalg.norm(vector_rad, axis=-1)
    x, y, z = np.moveaxis(vector_rad, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
    first = np.sinc(angle / np.pi)[:, None, None]
    second = (0.5 * np.sinc(angle / (2 * np.pi)) ** 2)[:, None, None]
    return np.eye(3) + first * cross + second * (cross @ cross)
