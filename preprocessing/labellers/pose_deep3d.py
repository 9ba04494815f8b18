"""Backend `deep3d` of `pose_labels`: Deep3DFaceRecon's network through torch.hub; its coefficients are kept.

Deep3DFaceRecon_pytorch fits five points of a face to five of its model by a camera without perspective (POS,
least squares), scales the picture so that one unit of the model is 102 px, and crops it around the model's
origin. Its camera stands 10 units in front, with a focal length of 1015 px at 224 px and the principal point
at 112; x to the right, y up, z towards the camera; R = Rz Ry Rx applied to column vectors. Axes, order and
signs of the angles are those of `preprocessing.faces.shape.frame_of_reference`.

`pose_from_coefficients` converts its output to the crop camera. *Unit and origin*: the mean face's five
points fitted to the model's (both have the same orientation: zero pitch of the mean face was chosen that way)
give the centimetres of a unit and our origin in the model. *Crop*: the aligned picture is a scaled part of
the crop; depth grows with the scale, and the position in the picture is carried over. *Line of sight*: a head
beside the middle is seen from another side, so a rotation found in the middle of the aligned picture is
turned by the angle between both lines of sight (about 1° for a face in an official crop, whose middle lies
below the eyes).

Shape letters: T frames.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import override

from preprocessing.faces.shape.frame_of_reference import (
    CROP_CENTRE_PX,
    CROP_FOCAL_PX,
    REFERENCE_DISTANCE_CM,
    angles_from_rotation,
    rotation_from_angles,
    turn_to_camera,
)
from preprocessing.faces.shape.landmark_groups import (
    IMAGE_LEFT_EYE_CORNERS,
    IMAGE_RIGHT_EYE_CORNERS,
    MOUTH_CORNERS,
    NOSE_TIP,
)
from preprocessing.faces.shape.mean_face import load_mean_face
from preprocessing.labellers.backend import Backend, ClipLabeller, WeightsRequest
from preprocessing.labellers.networks import fastest_device, load_from_hub
from preprocessing.labellers.pose_mean_face import PoseLabels, mean_face_residual_px
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import COEFFICIENT_COUNT, CROP_SIDE_PX, Clip

NAME: Final = "deep3d"
VERSION: Final = "1"
HUB_ENTRY: Final = "deep3d_reconstruction"
BATCH_FRAMES: Final = {"cpu": 8, "cuda": 64}  # larger batches fall out of a CPU's cache

MODEL_POINTS: Final = (
    (-0.31149, 0.29036, 0.13378),
    (0.30980, 0.28972, 0.13180),
    (0.00325, -0.04618, 0.55244),
    (-0.25217, -0.38134, 0.22406),
    (0.24847, -0.38128, 0.22236),
)
"""Eyes, nose tip and mouth corners of the face model, image-left first, in its units."""
UNIT_PX: Final = 102.0  # one unit in an aligned picture
CAMERA_DISTANCE_UNITS: Final = 10.0
ANGLES: Final = slice(224, 227)
TRANSLATION: Final = slice(254, 257)


class Alignment(NamedTuple):
    """Scale and position of the aligned pictures of T frames in their crops."""

    scale: NDArray[np.float64]  # [T] aligned px per crop px
    centre_px: NDArray[np.float64]  # [T, 2] crop px at (112, 112) of the aligned picture


class HeadInModel(NamedTuple):
    """Scale and origin of our head coordinates in the model."""

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
    """Fit the mean face's five points to the model's by scale and translation (least squares)."""
    model = np.array(MODEL_POINTS)
    head = five_points(load_mean_face().vertices_cm[None])[0]
    model_spread, head_spread = model - model.mean(axis=0), head - head.mean(axis=0)
    scale = float((model_spread * head_spread).sum() / (model_spread**2).sum())
    return HeadInModel(scale, model.mean(axis=0) - head.mean(axis=0) / scale)


def find_alignment(landmarks_px: NDArray[np.float32]) -> Alignment:
    """Align every frame by POS of its five points.

    Args:
        landmarks_px: [T, 478, 3] crop px.

    Raises:
        ValueError: the five points of a frame coincide.
    """
    points = five_points(landmarks_px[..., :2])
    points[..., 1] *= -1.0  # y up
    homogeneous = np.concatenate([np.array(MODEL_POINTS), np.ones((5, 1))], axis=1)
    fitted = np.einsum("qp,tpk->tkq", np.linalg.pinv(homogeneous), points)  # [T, 2, 4]
    px_per_unit = np.linalg.norm(fitted[..., :3], axis=-1).mean(axis=-1)
    if not (px_per_unit > 1.0).all():
        raise ValueError(
            f"the five points of a face coincide: {px_per_unit.min()} px per unit of the model, need > 1"
        )
    return Alignment(UNIT_PX / px_per_unit, fitted[..., 3] * [1.0, -1.0])


def aligned_picture(
    crop: NDArray[np.uint8], scale: float, centre_px: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """[224, 224, 3] -> [224, 224, 3]: scaled (bicubic) and cropped; black beyond the crop.

    The published program crops at whole px of the scaled picture; here the window is exact.
    """
    side = CROP_SIDE_PX / scale
    left, top = centre_px + 0.5 - (CROP_CENTRE_PX + 0.5) / scale  # outer edges of the border pixels
    border = max(0, int(np.ceil(max(-left, -top, left + side - CROP_SIDE_PX, top + side - CROP_SIDE_PX))))
    wide = np.pad(crop, ((border, border), (border, border), (0, 0)))
    box = (left + border, top + border, left + border + side, top + border + side)
    size = (CROP_SIDE_PX, CROP_SIDE_PX)
    # Pillow's bicubic, which the network was trained with; OpenCV's is sharper.
    return np.asarray(Image.fromarray(wide).resize(size, Image.Resampling.BICUBIC, box=box), np.uint8)


def pose_from_coefficients(
    coefficients: NDArray[np.floating[Any]], alignment: Alignment
) -> NDArray[np.float64]:
    """Convert output [T, 257] to poses [T, 6] (pitch, yaw, roll rad; x, y, z cm) in the crop camera."""
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


class AlignedClip(NamedTuple):
    """A clip's pictures as the network takes them."""

    landmarks_px: NDArray[np.float32]  # [T, 478, 3] of the crop
    alignment: Alignment
    pictures: list[NDArray[np.uint8]]  # T of [224, 224, 3] RGB


class Deep3DPose(ClipLabeller[Clip, AlignedClip, PoseLabels]):
    """Labels clips by a network.

    Args:
        network: [T, 3, 224, 224] RGB in [0, 1] -> [T, 257]; a torch module.
    """

    def __init__(self, network: Any) -> None:
        self._device = fastest_device()
        self._network = network.to(self._device)

    @override
    def prepare(self, item: Clip) -> AlignedClip:
        """Decode a clip's pictures and align them by its landmarks."""
        alignment = find_alignment(item.landmarks_px)
        places = zip(item.frames_jpeg, alignment.scale, alignment.centre_px, strict=True)
        pictures = [
            aligned_picture(decode_jpeg(jpeg), float(scale), centre) for jpeg, scale, centre in places
        ]
        return AlignedClip(item.landmarks_px, alignment, pictures)

    @override
    def label(self, prepared: AlignedClip) -> PoseLabels:
        """Label a clip.

        Raises:
            ValueError: the network's output is not 257 finite coefficients a frame.
        """
        coefficients = self.coefficients(prepared.pictures)
        pose = pose_from_coefficients(coefficients, prepared.alignment).astype(np.float32)
        return PoseLabels(pose, mean_face_residual_px(pose, prepared.landmarks_px), coefficients)

    def coefficients(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """[T, 257] of T aligned pictures [224, 224, 3] RGB, run in batches of `BATCH_FRAMES`."""
        size = BATCH_FRAMES[self._device.type]
        pieces = [pictures[start : start + size] for start in range(0, len(pictures), size)]
        return np.concatenate([self._run(np.stack(piece)) for piece in pieces])

    def _run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        batch = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2).float() / 255.0
        with torch.inference_mode():
            output = self._network(batch).cpu().numpy()
        if output.shape != (len(pictures), COEFFICIENT_COUNT) or not np.isfinite(output).all():
            raise ValueError(
                f"{NAME}: the network's output is {list(output.shape)} with {(~np.isfinite(output)).sum()} "
                f"values that are not finite, need {[len(pictures), COEFFICIENT_COUNT]}: wrong weights?"
            )
        return output


def open_labeller(checkpoint: Path) -> Deep3DPose:
    """Load the published checkpoint. Raises as `load_from_hub`."""
    return Deep3DPose(load_from_hub(HUB_ENTRY, checkpoint))


BACKEND: Final = Backend(
    name=NAME,
    version=VERSION,
    factory=open_labeller,
    weights=WeightsRequest("deep3d_facerecon", "deep3d_weights"),
)
