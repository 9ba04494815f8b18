"""The truth of a demo video: one row per frame, in a Parquet table with units in the column names.

Angles are the *apparent* rotation: that seen by a camera that looks straight at the head. The filming
camera sees the head off its axis; the shortest rotation of that camera that moves its axis to the head's
origin gives the camera of pitch, yaw and roll, as for a crop around the face. `pose_in_crop` converts the
truth to the crop camera of a given crop.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from demo_corpus.rendering.camera import Camera
from preprocessing.faces.shape.frame_of_reference import (
    CROP_CENTRE_PX,
    CROP_FOCAL_PX,
    REFERENCE_DISTANCE_CM,
    angles_from_rotation,
    rotation_from_angles,
)
from preprocessing.table_schema import column, table_schema
from storage.atomic import write_atomically

FINGERPRINT_KEY: Final = b"pdfgc.demo_corpus.fingerprint"
FOCAL_KEY: Final = b"pdfgc.demo_corpus.focal_px"
SIDE_KEY: Final = b"pdfgc.demo_corpus.side_px"

# Columns of the table by what they hold.
POSE_COLUMNS: Final = ("pitch_rad", "yaw_rad", "roll_rad", "x_cm", "y_cm", "z_cm")
GAZE_COLUMNS: Final = ("gaze_pitch_rad", "gaze_yaw_rad")
BLINK_COLUMNS: Final = ("blink_left", "blink_right")
CONTROL_COLUMNS: Final = {
    "lip": ("mouth_opening_cm", "mouth_spread"),
    "pose": POSE_COLUMNS,
    "eye": (*GAZE_COLUMNS, *BLINK_COLUMNS),
    "expression": ("smile", "brow_raise"),
}
"""What each control of a talking head decides. Together they decide the picture of a given person."""

TRUTH_SCHEMA: Final = table_schema(
    column("frame", pa.int32(), "frame number at 25 fps, from 0"),
    column(
        "time_seconds",
        pa.float64(),
        "instant shown by the frame, seconds from the start of picture and sound",
    ),
    column("pitch_rad", pa.float32(), "head pitch, rad, apparent on the line of sight; > 0 looks down"),
    column(
        "yaw_rad",
        pa.float32(),
        "head yaw, rad, apparent on the line of sight; > 0 to the image's right",
    ),
    column("roll_rad", pa.float32(), "head roll, rad, apparent on the line of sight; > 0 counter-clockwise"),
    column("x_cm", pa.float32(), "head origin, cm to the image's right of the filming camera's axis"),
    column("y_cm", pa.float32(), "head origin, cm above the filming camera's axis"),
    column("z_cm", pa.float32(), "head origin, cm nearer than 100 cm before the filming camera"),
    column("gaze_pitch_rad", pa.float32(), "gaze pitch, both eyes, rad, head coordinates; > 0 looks down"),
    column("gaze_yaw_rad", pa.float32(), "gaze yaw, both eyes, rad, head coordinates; > 0 to image-right"),
    column("blink_left", pa.float32(), "image-left eye's lid, 0 open .. 1 shut, no unit"),
    column("blink_right", pa.float32(), "image-right eye's lid, 0 open .. 1 shut, no unit"),
    column("mouth_opening_cm", pa.float32(), "gap between the inner lips' middles (vertices 13 and 14), cm"),
    column(
        "mouth_width_cm",
        pa.float32(),
        "mouth corners' distance (61 to 291), cm; smiles widen it too",
    ),
    column("mouth_spread", pa.float32(), "the vowel's share of the width, -1 rounded .. 1 spread, no unit"),
    column("smile", pa.float32(), "smile, 0 none .. 1 full, no unit"),
    column("brow_raise", pa.float32(), "brow raise, 0 none .. 1 full, no unit"),
)


def apparent_pose(rotation: NDArray[np.float64], position_cm: NDArray[np.float64]) -> NDArray[np.float64]:
    """[6] pitch, yaw, roll (rad, apparent), x, y, z (cm) of a head in the filming camera's coordinates."""
    sight = position_cm - np.array([0.0, 0.0, REFERENCE_DISTANCE_CM])
    return np.concatenate([angles_from_rotation(_turn_to_axis(sight) @ rotation), position_cm])


def rotation_and_position(pose: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The inverse of `apparent_pose`: rotation [3, 3] and position [3] cm, filming camera's coordinates."""
    position_cm = np.asarray(pose[3:], np.float64)
    sight = position_cm - np.array([0.0, 0.0, REFERENCE_DISTANCE_CM])
    return _turn_to_axis(sight).T @ rotation_from_angles(np.asarray(pose[:3], np.float64)), position_cm


def pose_in_crop(
    poses: NDArray[np.floating[Any]], crop_transforms: NDArray[np.floating[Any]], camera: Camera
) -> NDArray[np.float64]:
    """The truth in the crop camera of `preprocessing.faces.shape.frame_of_reference`.

    Args:
        poses: [T, 6] of the truth table.
        crop_transforms: [T, 2, 3] similarity from the video's pixels to the 224 px crop's.
        camera: the filming camera.

    Returns:
        [T, 6] pitch, yaw, roll (rad), x, y, z (cm) in the crop camera: the rotation is rotated with the
        crop and to the crop's centre, the distance follows from the crop's scale.
    """
    result = np.empty((len(poses), 6))
    for row, (pose, crop) in enumerate(
        zip(np.asarray(poses, float), np.asarray(crop_transforms, float), strict=True)
    ):
        scale = float(np.hypot(crop[0, 0], crop[1, 0]))
        roll = -float(np.arctan2(crop[1, 0], crop[0, 0]))  # image y runs down
        origin_px = crop[:, :2] @ camera.project(pose[3:]) + crop[:, 2]
        depth = CROP_FOCAL_PX * (REFERENCE_DISTANCE_CM - pose[5]) / (scale * camera.focal_px)
        flat = (origin_px - CROP_CENTRE_PX) * np.array([1.0, -1.0]) * depth / CROP_FOCAL_PX
        on_sight = rotation_from_angles(np.array([0.0, 0.0, roll])) @ rotation_from_angles(pose[:3])
        rotation = _turn_to_axis(np.array([*flat, -depth])).T @ on_sight
        result[row, :3] = angles_from_rotation(rotation)
        result[row, 3:] = [*flat, REFERENCE_DISTANCE_CM - depth]
    return result


def write_truth(
    path: Path, columns: dict[str, NDArray[np.floating[Any]]], camera: Camera, fingerprint: str
) -> None:
    """Write the table at `path`, atomically; `columns` by the names of TRUTH_SCHEMA, [T] each."""
    arrays = [pa.array(columns[field.name], type=field.type) for field in TRUTH_SCHEMA]
    metadata = {
        FINGERPRINT_KEY: fingerprint.encode(),
        FOCAL_KEY: repr(camera.focal_px).encode(),
        SIDE_KEY: str(camera.side_px).encode(),
    }
    table = pa.Table.from_arrays(arrays, schema=TRUTH_SCHEMA.with_metadata(metadata))
    with write_atomically(path) as part:
        pq.write_table(table, part)


def read_truth(path: Path) -> pa.Table:
    """The truth table of a demo video."""
    return pq.read_table(path)


def filming_camera(table: pa.Table) -> Camera:
    """The camera of a truth table's video."""
    return Camera(int(table.schema.metadata[SIDE_KEY]))


def _turn_to_axis(sight: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 3] the shortest rotation that takes a line of sight to the camera's axis (0, 0, -1)."""
    unit = sight / np.linalg.norm(sight)
    axis = np.array([0.0, 0.0, -1.0])
    cross = np.cross(unit, axis)
    skew = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + unit @ axis)
