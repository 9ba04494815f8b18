"""Deep3DFaceRecon's alignment and camera, and how its coefficients are told in the crop camera.

Facts of Deep3DFaceRecon_pytorch: five points of a face are fitted to the model's five by a camera without
perspective (POS, least squares); the picture is scaled so that one unit of the model is 102 px and cut round
where the model's origin lies. Its camera stands 10 units in front, focal length 1015 px at 224 px, the
picture's middle in 112; x to the right, y up, z to the camera; R = Rz Ry Rx applied to column vectors. So its
axes and the order and signs of its angles are those of `frame_of_reference`.

Three things differ, and are put right here. *Unit and origin*: the mean face's five points laid on the
model's (same orientation: that is how the mean face's zero pitch was chosen) say how many centimetres a unit
is and where between the eyes our origin lies. *Crop*: the aligned picture is a scaled part of ours; depth
grows with the scale, and the place in the picture is carried over. *Line of sight*: a head beside the middle
is seen from another side; what the network calls the same turn in the middle of its picture is another one at
the head's place in ours, turned by the angle between both lines of sight (about 1° for a face in an official
crop, whose middle lies below the eyes).

Shape letters: T frames.
"""

from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from preprocessing.faces.frame_of_reference import (
    CROP_CENTRE_PX,
    CROP_FOCAL_PX,
    REFERENCE_DISTANCE_CM,
    angles_from_rotation,
    rotation_from_angles,
    turn_to_camera,
)
from preprocessing.faces.landmark_groups import (
    IMAGE_LEFT_EYE_CORNERS,
    IMAGE_RIGHT_EYE_CORNERS,
    MOUTH_CORNERS,
    NOSE_TIP,
)
from preprocessing.faces.mean_face import load_mean_face
from preprocessing.schema import CROP_SIDE_PX

MODEL_POINTS: Final = (
    (-0.31149, 0.29036, 0.13378),
    (0.30980, 0.28972, 0.13180),
    (0.00325, -0.04618, 0.55244),
    (-0.25217, -0.38134, 0.22406),
    (0.24847, -0.38128, 0.22236),
)
"""Eyes, nose tip, mouth corners of the face model, image-left first, in its units."""
UNIT_PX: Final = 102.0  # of a unit in an aligned picture
CAMERA_DISTANCE_UNITS: Final = 10.0
ANGLES: Final = slice(224, 227)
TRANSLATION: Final = slice(254, 257)


class Alignment(NamedTuple):
    """Where the aligned pictures of T frames lie in their crops."""

    scale: NDArray[np.float64]  # [T] aligned px a crop px
    centre_px: NDArray[np.float64]  # [T, 2] crop px that comes to (112, 112)


class HeadInModel(NamedTuple):
    """Our head coordinates in the model's."""

    centimetres_per_unit: float
    origin: NDArray[np.float64]  # [3] units


def five_points(points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """[T, 478, D] -> [T, 5, D] eyes (middle of their corners), nose tip, mouth corners, image-left first."""
    points = points.astype(np.float64)
    eyes = [
        points[:, list(corners)].mean(axis=1) for corners in (IMAGE_LEFT_EYE_CORNERS, IMAGE_RIGHT_EYE_CORNERS)
    ]
    return np.stack([*eyes, points[:, NOSE_TIP], *(points[:, corner] for corner in MOUTH_CORNERS)], axis=1)


@cache
def head_in_model() -> HeadInModel:
    """Scale and place that lay the mean face's five points on the model's with the least squares."""
    model = np.array(MODEL_POINTS)
    head = five_points(load_mean_face().vertices_cm[None])[0]
    model_spread, head_spread = model - model.mean(axis=0), head - head.mean(axis=0)
    scale = float((model_spread * head_spread).sum() / (model_spread**2).sum())
    return HeadInModel(scale, model.mean(axis=0) - head.mean(axis=0) / scale)


def find_alignment(landmarks_px: NDArray[np.float32]) -> Alignment:
    """POS of five points, frame by frame.

    Args:
        landmarks_px: [T, 478, 3] crop px.

    Raises:
        ValueError: the five points of a frame lie in one place.
    """
    points = five_points(landmarks_px[..., :2])
    points[..., 1] *= -1.0  # y up
    homogeneous = np.concatenate([np.array(MODEL_POINTS), np.ones((5, 1))], axis=1)
    fitted = np.einsum("qp,tpk->tkq", np.linalg.pinv(homogeneous), points)  # [T, 2, 4]
    px_per_unit = np.linalg.norm(fitted[..., :3], axis=-1).mean(axis=-1)
    if not (px_per_unit > 1.0).all():
        raise ValueError(f"five points of a face lie within {px_per_unit.min()} px a unit of the model")
    return Alignment(UNIT_PX / px_per_unit, fitted[..., 3] * [1.0, -1.0])


def aligned_picture(
    crop: NDArray[np.uint8], scale: float, centre_px: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """[224, 224, 3] -> [224, 224, 3]: scaled bicubic and cut; black beyond the crop.

    The published program cuts at whole px of the scaled picture; here the cut is exact.
    """
    side = CROP_SIDE_PX / scale
    left, top = centre_px + 0.5 - (CROP_CENTRE_PX + 0.5) / scale  # of the outermost pixels' edges
    border = max(0, int(np.ceil(max(-left, -top, left + side - CROP_SIDE_PX, top + side - CROP_SIDE_PX))))
    wide = np.pad(crop, ((border, border), (border, border), (0, 0)))
    box = (left + border, top + border, left + border + side, top + border + side)
    size = (CROP_SIDE_PX, CROP_SIDE_PX)
    # Pillow's bicubic, as the network was trained on; OpenCV's is a sharper one.
    return np.asarray(Image.fromarray(wide).resize(size, Image.Resampling.BICUBIC, box=box), np.uint8)


def pose_from_coefficients(
    coefficients: NDArray[np.floating[Any]], alignment: Alignment
) -> NDArray[np.float64]:
    """Poses [T, 6] (pitch, yaw, roll rad; x, y, z cm) in the crop camera of the network's output [T, 257]."""
    head = head_in_model()
    turned = rotation_from_angles(coefficients[:, ANGLES])
    place = turned @ head.origin + coefficients[:, TRANSLATION].astype(np.float64)
    depth = CAMERA_DISTANCE_UNITS - place[:, 2]
    aligned_sight = place[:, :2] / depth[:, None]  # x and y of a point one unit of depth away
    middle_px = (alignment.centre_px - CROP_CENTRE_PX) * [1.0, -1.0]
    sight = aligned_sight / alignment.scale[:, None] + middle_px / CROP_FOCAL_PX
    depth_cm = head.centimetres_per_unit * depth * alignment.scale
    place_cm = np.concatenate(
        [sight * depth_cm[:, None], (REFERENCE_DISTANCE_CM - depth_cm)[:, None]], axis=1
    )
    aligned_cm = np.concatenate([REFERENCE_DISTANCE_CM * aligned_sight, np.zeros((len(sight), 1))], axis=1)
    turn = turn_to_camera(place_cm) @ np.swapaxes(turn_to_camera(aligned_cm), -1, -2)
    return np.concatenate([angles_from_rotation(turn @ turned), place_cm], axis=1)
