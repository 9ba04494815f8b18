"""Gaze sheets: both eyes enlarged, with an arrow each for the gaze and a bar each for the blink."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from preprocessing.clips.store import ClipRow, accepted_clips, read_clip
from preprocessing.faces.shape.frame_of_reference import (
    CROP_FOCAL_PX,
    REFERENCE_DISTANCE_CM,
    direction_from_gaze,
    rotation_from_angles,
)
from preprocessing.faces.shape.landmark_groups import (
    IMAGE_LEFT_EYE_CORNERS,
    IMAGE_LEFT_IRIS,
    IMAGE_RIGHT_EYE_CORNERS,
    IMAGE_RIGHT_IRIS,
)
from preprocessing.labels.tables import BLINK_NAMES, GAZE_NAMES, POSE_NAMES, read_labels
from preprocessing.pictures.drawing import (
    FAINT_INK,
    MAXIMUM_PICTURE_BYTES,
    Cell,
    Line,
    View,
    degrees,
    draw_message,
    draw_sheet,
    encode_picture,
    open_jpeg,
    open_view,
    spread,
)

COLUMNS: Final = 2
CELL_WIDTH_PX: Final = 208
CELL_HEIGHT_PX: Final = 104
VIEW_WIDTH_PX: Final = 640
EYES_SHARE: Final = 0.62  # of a cell's width between the outer eye corners
ARROW_LENGTH_CM: Final = 6.0  # ten degrees are about half an eye's width
GAZE_COLOUR: Final = (255, 225, 60)
BLINK_COLOUR: Final = (255, 120, 40)
TITLE: Final = "Gaze and blink"
EXPLANATION: Final = (
    "Each clip's largest gaze angle with open eyes; for every third clip its most closed frame.",
    "Arrow: gaze direction (a dot: at the camera). Bars: blink of each eye, 0 open to 1 shut.",
    "Numbers: gaze in head coordinates; pitch + looks down, yaw + looks to the image's right.",
)


def draw_gaze_sheet(
    clips: Path,
    pose_labels: Path,
    gaze_labels: Path,
    *,
    count: int = 12,
    maximum_bytes: int = MAXIMUM_PICTURE_BYTES,
) -> bytes:
    """JPEG of eyes with their gaze and blink.

    Args:
        clips: folder of the step `clips`.
        pose_labels: folder of the step `pose_labels`; gaze is in head coordinates.
        gaze_labels: folder of the step `gaze_labels`.
        count: clips at most.
        maximum_bytes: of the JPEG.
    """
    poses = read_labels(pose_labels, POSE_NAMES)
    eyes = read_labels(gaze_labels, GAZE_NAMES + BLINK_NAMES)
    rows = [row for row in accepted_clips(clips) if row.key in poses and row.key in eyes]
    chosen = spread(rows, lambda row: row.identity, count)
    if not chosen:
        return draw_message(TITLE, "There are no labelled clips.", maximum_bytes)
    cells = [
        _cell(clips, row, poses[row.key], eyes[row.key], blinking=number % 3 == 2)
        for number, row in enumerate(chosen)
    ]
    title = f"{TITLE}: {len(chosen)} of {len(rows)} clips"
    return encode_picture(draw_sheet(title, EXPLANATION, cells, COLUMNS), maximum_bytes)


def _cell(
    clips: Path, row: ClipRow, poses: NDArray[np.float32], eyes: NDArray[np.float32], *, blinking: bool
) -> Cell:
    clip = read_clip(clips, row)
    blink = eyes[:, 2:].max(axis=1)
    away = np.linalg.norm(eyes[:, :2], axis=1)
    frame = int((blink if blinking else np.where(blink < 0.5, away, -1.0)).argmax())
    image = draw_eyes(clip.frames_jpeg[frame], clip.landmarks_px[frame], poses[frame], eyes[frame])
    pitch, yaw = (degrees(float(angle)) for angle in eyes[frame, :2])
    left, right = eyes[frame, 2:]
    return Cell(
        image,
        (
            Line(f"pitch {pitch}  yaw {yaw}  blink {left:.1f} | {right:.1f}"),
            Line(f"{row.identity}, frame {frame}", FAINT_INK),
        ),
    )


def draw_eyes(
    jpeg: bytes, landmarks_px: NDArray[np.float32], pose: NDArray[np.float32], eyes: NDArray[np.float32]
) -> Image.Image:
    """The eyes' part of a crop with gaze arrows and blink bars.

    Args:
        jpeg: the crop.
        landmarks_px: [478, 3].
        pose: [6] of the head.
        eyes: [4] gaze pitch, yaw rad; blink of the image-left and of the image-right eye.
    """
    view = open_view(open_jpeg(jpeg), _eyes_box(landmarks_px), VIEW_WIDTH_PX)
    irises_px = landmarks_px[[IMAGE_LEFT_IRIS[0], IMAGE_RIGHT_IRIS[0]], :2]
    arrow_px = gaze_arrow_px(pose, eyes[:2])
    for iris_px in irises_px:
        view.arrow(iris_px, iris_px + arrow_px, GAZE_COLOUR)
    for blink, left in ((eyes[2], True), (eyes[3], False)):
        _draw_bar(view, float(blink), left=left)
    return view.finish(CELL_WIDTH_PX, CELL_HEIGHT_PX)


def gaze_arrow_px(pose: NDArray[np.float32], gaze_rad: NDArray[np.float32]) -> NDArray[np.float64]:
    """[2] px: a gaze vector of `ARROW_LENGTH_CM` projected to the crop.

    Orthographic, so that both eyes' arrows are parallel, and a gaze into the camera is a point wherever
    the eye is in the crop.
    """
    in_camera = rotation_from_angles(pose[:3]) @ direction_from_gaze(gaze_rad)
    pixels_per_cm = CROP_FOCAL_PX / (REFERENCE_DISTANCE_CM - float(pose[5]))
    return ARROW_LENGTH_CM * pixels_per_cm * in_camera[:2] * (1.0, -1.0)


def _eyes_box(landmarks_px: NDArray[np.float32]) -> tuple[int, int, int, int]:
    corners = landmarks_px[[*IMAGE_LEFT_EYE_CORNERS, *IMAGE_RIGHT_EYE_CORNERS], :2]
    x, y = corners.mean(axis=0)
    width = max(float(np.ptp(corners[:, 0])), 20.0) / EYES_SHARE
    half_width, half_height = round(width / 2), round(width / 2 * CELL_HEIGHT_PX / CELL_WIDTH_PX)
    return (
        round(float(x)) - half_width,
        round(float(y)) - half_height,
        round(float(x)) + half_width,
        round(float(y)) + half_height,
    )


def _draw_bar(view: View, blink: float, *, left: bool) -> None:
    width, height = view.image.size
    bar_width, inset = 22, 10
    x = inset if left else width - inset - bar_width
    top, bottom = inset, height - inset
    view.draw.rectangle([x, top, x + bar_width, bottom], fill=(40, 40, 44), outline=(230, 230, 230), width=3)
    level = bottom - 3 - blink * (bottom - top - 6)
    if level < bottom - 4:
        view.draw.rectangle([x + 3, level, x + bar_width - 3, bottom - 3], fill=BLINK_COLOUR)
