"""Backend `l2cs` of `gaze_labels`: L2CS-Net on the face of every frame, converted to head coordinates.

The input is that of the authors' programs: the face's box resized to a square of 224 px, enlarged to 448,
with ImageNet's mean and deviation. The box is that of the landmarks; theirs is a face detector's.

The output is the gaze relative to the line from the camera to the face (`models.external.l2cs`), pitch and
yaw with our signs. The head's position gives that line; rotated by it and back by the head's rotation, the
gaze is in head coordinates (`preprocessing.faces.shape.frame_of_reference`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from preprocessing.faces.shape.frame_of_reference import (
    direction_from_gaze,
    gaze_from_direction,
    rotation_from_angles,
    turn_to_camera,
)
from preprocessing.labellers.backend import Backend, ClipLabeller, WeightsRequest
from preprocessing.labellers.gaze_iris import GazeClip, bridge_gaze
from preprocessing.labellers.networks import fastest_device, load_from_hub
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import CROP_SIDE_PX

NAME: Final = "l2cs"
VERSION: Final = "1"
HUB_ENTRY: Final = "l2cs"
INPUT_SIDE_PX: Final = 448
RESIZED_SIDE_PX: Final = 224  # the authors' programs resize every face to this, then enlarge it
MEAN: Final = (0.485, 0.456, 0.406)  # ImageNet, RGB
DEVIATION: Final = (0.229, 0.224, 0.225)
BATCH_FRAMES: Final = {"cpu": 2, "cuda": 32}  # larger batches fall out of a CPU's cache


class FacePictures(NamedTuple):
    """A clip and its faces as the network takes them."""

    item: GazeClip
    faces: list[NDArray[np.uint8]]  # T of [448, 448, 3] RGB


class L2CSGaze(ClipLabeller[GazeClip, FacePictures, NDArray[np.float32]]):
    """Labels clips by a network.

    Args:
        network: [N, 3, 448, 448] -> [N, 2] pitch, yaw rad against the line to the camera; a torch module.
    """

    def __init__(self, network: Any) -> None:
        self._device = fastest_device()
        self._network = network.to(self._device)

    @override
    def prepare(self, item: GazeClip) -> FacePictures:
        """Decode a clip's faces."""
        places = zip(item.clip.frames_jpeg, item.clip.landmarks_px, strict=True)
        return FacePictures(item, [face_picture(jpeg, points) for jpeg, points in places])

    @override
    def label(self, prepared: FacePictures) -> NDArray[np.float32]:
        """[T, 2] pitch, yaw rad in head coordinates, interpolated where the irises' gaze is not valid."""
        item = prepared.item
        gaze = gaze_in_head(self.gaze_to_camera(prepared.faces), item.pose)
        gaze = np.clip(gaze, -item.reach_rad, item.reach_rad)
        return bridge_gaze(gaze, item.iris.valid).astype(np.float32)

    def gaze_to_camera(self, faces: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Gaze [N, 2] relative to the line to the camera, of N faces [448, 448, 3] RGB."""
        size = BATCH_FRAMES[self._device.type]
        pieces = [faces[start : start + size] for start in range(0, len(faces), size)]
        return np.concatenate([self._run(np.stack(piece)) for piece in pieces])

    def _run(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        batch = torch.from_numpy(faces).to(self._device).permute(0, 3, 1, 2).float() / 255.0
        mean, deviation = (
            torch.tensor(value, device=self._device)[:, None, None] for value in (MEAN, DEVIATION)
        )
        with torch.inference_mode():
            output = self._network((batch - mean) / deviation).cpu().numpy()
        if output.shape != (len(faces), 2) or not np.isfinite(output).all():
            raise ValueError(
                f"{NAME}: the network's output is {list(output.shape)} with {(~np.isfinite(output)).sum()} "
                f"values that are not finite, need {[len(faces), 2]}: wrong weights?"
            )
        return output


def open_labeller(weights: Path) -> L2CSGaze:
    """Load the published file. Raises as `load_from_hub`."""
    return L2CSGaze(load_from_hub(HUB_ENTRY, weights))


BACKEND: Final = Backend(
    name=NAME,
    version=VERSION,
    factory=open_labeller,
    weights=WeightsRequest("l2cs_gaze360", "l2cs_weights"),
)


def gaze_in_head(
    gaze_to_camera_rad: NDArray[np.floating[Any]], pose: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Convert a gaze relative to the line from camera to face into head coordinates.

    Args:
        gaze_to_camera_rad: [T, 2] pitch, yaw; zero looks into the camera.
        pose: [T, 6] of the same frames.

    Returns:
        [T, 2] pitch, yaw rad.
    """
    direction = (turn_to_camera(pose[:, 3:]) @ direction_from_gaze(gaze_to_camera_rad)[..., None])[..., 0]
    # Row times matrix applies the transposed rotation: from the camera's coordinates to the head's.
    in_head = (direction[:, None] @ rotation_from_angles(pose[:, :3]))[:, 0]
    return gaze_from_direction(in_head)


def face_picture(jpeg: bytes, landmarks_px: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Crop the box of landmarks [478, 3], cut at the picture's edge, to [448, 448, 3] RGB."""
    crop = decode_jpeg(jpeg)
    low = np.clip(np.floor(landmarks_px[:, :2].min(axis=0)), 0, CROP_SIDE_PX - 2).astype(int)
    high = np.clip(np.ceil(landmarks_px[:, :2].max(axis=0)), low + 2, CROP_SIDE_PX).astype(int)
    face = cv2.resize(crop[low[1] : high[1], low[0] : high[0]], (RESIZED_SIDE_PX, RESIZED_SIDE_PX))
    return np.asarray(cv2.resize(face, (INPUT_SIDE_PX, INPUT_SIDE_PX)), np.uint8)
