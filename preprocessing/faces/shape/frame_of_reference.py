"""The frame of reference of head pose and gaze, and the signs of the angles.

Head pose is given in the *crop camera*: a pinhole camera that would have taken the 224 x 224 crop,
focal length 1015 px, principal point (112, 112). Both values are Deep3DFaceRecon's, so that its
labels map into this frame without a change of angles.

Axes (camera and head alike, right-handed): x to the image's right (the person's left when the
face looks into the camera), y up, z out of the image towards the camera. A head of pose zero
looks straight into the camera and is on the optical axis, `REFERENCE_DISTANCE_CM` in
front of it.

Rotation of head coordinates into camera coordinates: ``R = Rz(roll) @ Ry(yaw) @ Rx(pitch)``,
applied to column vectors. Signs, all in radians:

* pitch > 0: the face looks down (chin towards the chest);
* yaw > 0: the face looks to the image's right;
* roll > 0: the head is turned counter-clockwise as the image shows it.

Translation (x, y, z) in centimetres of the head's origin (the point midway between the two
eyeball centres) from the reference point; z > 0 is closer to the camera.

Gaze is given in *head* coordinates (relative to the head, not to the camera), with the same signs:
pitch > 0 looks down, yaw > 0 looks to the image's right; zero looks along the head's z axis.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CROP_FOCAL_PX: Final = 1015.0  # Deep3DFaceRecon's camera at 224 px
CROP_CENTRE_PX: Final = 112.0
REFERENCE_DISTANCE_CM: Final = 100.0  # Deep3DFaceRecon: camera distance 10, its unit about 10 cm


def rotation_from_angles(angles_rad: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Rotations of head coordinates into camera coordinates.

    Args:
        angles_rad: [..., 3] pitch, yaw, roll.

    Returns:
        [..., 3, 3] ``Rz(roll) @ Ry(yaw) @ Rx(pitch)``.
    """
    pitch, yaw, roll = np.moveaxis(np.asarray(angles_rad, np.float64), -1, 0)
    sin_p, cos_p = np.sin(pitch), np.cos(pitch)
    sin_y, cos_y = np.sin(yaw), np.cos(yaw)
    sin_r, cos_r = np.sin(roll), np.cos(roll)
    rows = [
        [cos_r * cos_y, cos_r * sin_y * sin_p - sin_r * cos_p, cos_r * sin_y * cos_p + sin_r * sin_p],
        [sin_r * cos_y, sin_r * sin_y * sin_p + cos_r * cos_p, sin_r * sin_y * cos_p - cos_r * sin_p],
        [-sin_y, cos_y * sin_p, cos_y * cos_p],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def angles_from_rotation(rotation: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Pitch, yaw, roll of rotations; the inverse of `rotation_from_angles`.

    Args:
        rotation: [..., 3, 3]; yaw must lie within (-pi/2, pi/2).

    Returns:
        [..., 3] radians.
    """
    rotation = np.asarray(rotation, np.float64)
    pitch = np.arctan2(rotation[..., 2, 1], rotation[..., 2, 2])
    yaw = np.arcsin(np.clip(-rotation[..., 2, 0], -1.0, 1.0))
    roll = np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return np.stack([pitch, yaw, roll], axis=-1)


def direction_from_gaze(gaze_rad: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Unit vectors of gaze angles: [..., 2] pitch, yaw -> [..., 3] in the same coordinates."""
    pitch, yaw = np.moveaxis(np.asarray(gaze_rad, np.float64), -1, 0)
    return np.stack([np.cos(pitch) * np.sin(yaw), -np.sin(pitch), np.cos(pitch) * np.cos(yaw)], axis=-1)


def gaze_from_direction(direction: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Gaze angles of vectors of any length: [..., 3] -> [..., 2] pitch, yaw in radians."""
    direction = np.asarray(direction, np.float64)
    direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    pitch = -np.arcsin(np.clip(direction[..., 1], -1.0, 1.0))
    return np.stack([pitch, np.arctan2(direction[..., 0], direction[..., 2])], axis=-1)


def project_to_crop(points_cm: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Image points of points in camera coordinates relative to the reference point.

    Args:
        points_cm: [..., 3] x, y, z in the camera frame above, centimetres from the reference point.

    Returns:
        [..., 2] pixels in the crop, x right, y down.
    """
    points_cm = np.asarray(points_cm, np.float64)
    depth_cm = REFERENCE_DISTANCE_CM - points_cm[..., 2]
    x_px = CROP_CENTRE_PX + CROP_FOCAL_PX * points_cm[..., 0] / depth_cm
    y_px = CROP_CENTRE_PX - CROP_FOCAL_PX * points_cm[..., 1] / depth_cm
    return np.stack([x_px, y_px], axis=-1)


def turn_to_camera(place_cm: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The smallest rotation that turns the z axis, which points out of the image, towards the camera.

    Args:
        place_cm: [T, 3] positions, centimetres from the reference point.

    Returns:
        [T, 3, 3]; identity for a position on the camera's axis.
    """
    place_cm = np.asarray(place_cm, np.float64)
    towards = np.array([0.0, 0.0, REFERENCE_DISTANCE_CM]) - place_cm
    x, y, z = np.moveaxis(towards / np.linalg.norm(towards, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1.0 - x * x / (1.0 + z), -x * y / (1.0 + z), x],
        [-x * y / (1.0 + z), 1.0 - y * y / (1.0 + z), y],
        [-x, -y, z],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
