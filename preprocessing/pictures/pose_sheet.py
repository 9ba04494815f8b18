"""Pose sheets: the head's three axes from the pose labels, drawn on the face."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from preprocessing.clips.store import ClipRow, accepted_clips, read_clip
from preprocessing.faces.shape.frame_of_reference import project_to_crop, rotation_from_angles
from preprocessing.labels.tables import POSE_NAMES, read_labels
from preprocessing.pictures.drawing import (
    FAINT_INK,
    MAXIMUM_PICTURE_BYTES,
    Cell,
    Colour,
    Line,
    degrees,
    draw_message,
    draw_sheet,
    encode_picture,
    open_jpeg,
    open_view,
    spread,
)
from preprocessing.schema import CROP_SIDE_PX

COLUMNS: Final = 3
CELL_SIDE_PX: Final = 148
AXIS_LENGTHS_CM: Final = (6.0, 6.0, 10.0)  # half a face's width; z is longer, since it points at the viewer
AXIS_COLOURS: Final[tuple[Colour, ...]] = ((255, 70, 60), (70, 235, 90), (70, 150, 255))  # x, y, z
TITLE: Final = "Head pose"
EXPLANATION: Final = (
    "Each clip's frame with the largest head rotation. Blue: face direction, green: up, red: sideways.",
    "pitch + looks down, yaw + looks to the image's right, roll + turns counter-clockwise; in degrees.",
)


def draw_pose_sheet(
    clips: Path, pose_labels: Path, *, count: int = 12, maximum_bytes: int = MAXIMUM_PICTURE_BYTES
) -> bytes:
    """JPEG of faces with their head's axes and angles.

    Args:
        clips: folder of the step `clips`.
        pose_labels: folder of the step `pose_labels`.
        count: clips at most.
        maximum_bytes: of the JPEG.
    """
    poses = read_labels(pose_labels, POSE_NAMES)
    rows = [row for row in accepted_clips(clips) if row.key in poses]
    chosen = spread(rows, lambda row: row.identity, count)
    if not chosen:
        return draw_message(TITLE, "There are no labelled clips.", maximum_bytes)
    cells = [_cell(clips, row, poses[row.key]) for row in chosen]
    title = f"{TITLE}: {len(chosen)} of {len(rows)} clips"
    return encode_picture(draw_sheet(title, EXPLANATION, cells, COLUMNS), maximum_bytes)


def _cell(clips: Path, row: ClipRow, poses: NDArray[np.float32]) -> Cell:
    frame = int((np.cos(poses[:, 0]) * np.cos(poses[:, 1])).argmin())
    jpeg = read_clip(clips, row).frames_jpeg[frame]
    pitch, yaw, roll = (degrees(float(angle)).rstrip("°") for angle in poses[frame, :3])
    return Cell(
        draw_axes(jpeg, poses[frame], CELL_SIDE_PX),
        (
            Line(f"pitch {pitch} yaw {yaw} roll {roll}"),
            Line(f"{row.identity}, frame {frame}", FAINT_INK),
        ),
    )


def draw_axes(jpeg: bytes, pose: NDArray[np.float32], side_px: int) -> Image.Image:
    """A crop with the axes of a head of `pose` [6], `side_px` wide and high."""
    view = open_view(open_jpeg(jpeg), (0, 0, CROP_SIDE_PX, CROP_SIDE_PX), 2 * CROP_SIDE_PX)
    ends_px = project_axes(pose)
    # The nearest end is drawn last.
    depth = rotation_from_angles(pose[:3])[2]
    for axis in np.argsort(depth, kind="stable"):
        view.arrow(ends_px[0], ends_px[1 + axis], AXIS_COLOURS[axis])
    return view.finish(side_px, side_px)


def project_axes(pose: NDArray[np.float32]) -> NDArray[np.float64]:
    """Crop pixels [4, 2] of the head's origin and of the ends of its x, y and z axes."""
    ends_cm = np.vstack([np.zeros(3), np.diag(AXIS_LENGTHS_CM)])
    return project_to_crop(ends_cm @ rotation_from_angles(pose[:3]).T + pose[3:].astype(np.float64))
