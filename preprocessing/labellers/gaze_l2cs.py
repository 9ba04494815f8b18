"""Backend `l2cs` of `gaze_labels`: L2CS-Net looks at the face of every frame; its gaze is told in the head.

The network is shown what its authors' programs show it: the face's box, squashed to 224 px, enlarged to 448,
with ImageNet's mean and deviation. The box is that of the landmarks, where theirs is a face detector's.

It gives the gaze relative to the line from the camera to the face (`models.external.l2cs`), pitch and yaw
with our signs. That line is known from the head's place; turned by it and back by the
head's rotation, the gaze is one in head coordinates, as `preprocessing.faces.frame_of_reference` wants it.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.frame_of_reference import (
    direction_from_gaze,
    gaze_from_direction,
    rotation_from_angles,
    turn_to_camera,
)
from preprocessing.labellers.hub_network import fastest_device, network_from_hub
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import CROP_SIDE_PX, Clip

NAME: Final = "l2cs"
VERSION: Final = "1"
ENTRY: Final = "l2cs"
INPUT_SIDE_PX: Final = 448
SQUASHED_SIDE_PX: Final = 224  # the authors' programs bring every face to this before they enlarge it
MEAN: Final = (0.485, 0.456, 0.406)  # of ImageNet, red, green, blue
DEVIATION: Final = (0.229, 0.224, 0.225)
FRAMES_AT_ONCE: Final = {"cpu": 2, "cuda": 32}  # a CPU's cache holds no more maps


class L2CSGaze:
    """A network, ready for clips (`ClipNetwork`).

    Args:
        network: [N, 3, 448, 448] -> [N, 2] pitch, yaw rad against the line to the camera; a torch module.
    """

    def __init__(self, network: Any) -> None:
        self._device = fastest_device()
        self._network = network.to(self._device)

    def prepare(self, clip: Clip) -> list[NDArray[np.uint8]]:
        """T faces [448, 448, 3] RGB."""
        places = zip(clip.frames_jpeg, clip.landmarks_px, strict=True)
        return [face_picture(jpeg, points) for jpeg, points in places]

    def label(self, ready: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """[T, 2] pitch, yaw rad against the line from camera to face; `gaze_in_head` tells it in the head."""
        return self.seen(ready)

    def seen(self, faces: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """[N, 2] against the line to the camera, of N faces [448, 448, 3] RGB, some at once."""
        size = FRAMES_AT_ONCE[self._device.type]
        pieces = [faces[start : start + size] for start in range(0, len(faces), size)]
        return np.concatenate([self._seen(np.stack(piece)) for piece in pieces])

    def _seen(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        batch = torch.from_numpy(faces).to(self._device).permute(0, 3, 1, 2).float() / 255.0
        mean, deviation = (
            torch.tensor(value, device=self._device)[:, None, None] for value in (MEAN, DEVIATION)
        )
        with torch.inference_mode():
            found = self._network((batch - mean) / deviation).cpu().numpy()
        if found.shape != (len(faces), 2) or not np.isfinite(found).all():
            raise ValueError(
                f"{NAME}: the network gave {list(found.shape)}, {(~np.isfinite(found)).sum()} of them not "
                f"finite; need {[len(faces), 2]}: are these its weights?"
            )
        return found


@contextmanager
def open_backend(file: Path) -> Generator[L2CSGaze]:
    """The labeller of the published file. Raises as `network_from_hub`."""
    yield L2CSGaze(network_from_hub(ENTRY, file))


def gaze_in_head(seen_rad: NDArray[np.floating[Any]], pose: NDArray[np.float32]) -> NDArray[np.float64]:
    """Gaze against the line from camera to face, told in the head.

    Args:
        seen_rad: [T, 2] pitch, yaw; zero looks into the camera.
        pose: [T, 6] of the same frames.

    Returns:
        [T, 2] pitch, yaw in head coordinates.
    """
    direction = (turn_to_camera(pose[:, 3:]) @ direction_from_gaze(seen_rad)[..., None])[..., 0]
    # Row times matrix: by the transposed rotation, out of the camera's coordinates into the head's.
    told = (direction[:, None] @ rotation_from_angles(pose[:, :3]))[:, 0]
    return gaze_from_direction(told)


def face_picture(jpeg: bytes, landmarks_px: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[448, 448, 3] RGB of a crop: the box of its landmarks [478, 3], as far as the crop goes."""
    crop = decode_jpeg(jpeg)
    low = np.clip(np.floor(landmarks_px[:, :2].min(axis=0)), 0, CROP_SIDE_PX - 2).astype(int)
    high = np.clip(np.ceil(landmarks_px[:, :2].max(axis=0)), low + 2, CROP_SIDE_PX).astype(int)
    face = cv2.resize(crop[low[1] : high[1], low[0] : high[0]], (SQUASHED_SIDE_PX, SQUASHED_SIDE_PX))
    return np.asarray(cv2.resize(face, (INPUT_SIDE_PX, INPUT_SIDE_PX)), np.uint8)
