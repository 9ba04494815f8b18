"""The face mesh in torch for many videos at once: what their threads ask for at the same time is one batch.

For a GPU: the network that `faces.tflite.mesh` runs on one thread of the CPU. Pictures are cut and scaled on
the device. Landmarks are within .1 px of that path's.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.tflite.mesh import SIDE_PX, Region
from preprocessing.labellers.networks import fastest_device, load_embedded

MAXIMUM_BATCH: Final = 64
FIXED_POINT: Final = 1024.0  # a pixel in `cv2.warpAffine`
STEPS_PER_PX: Final = 32.0  # between two pixels, likewise


@dataclass
class _Request:
    image: NDArray[np.uint8]
    region: Region
    answer: tuple[NDArray[np.float32], float] | None = None  # points [478, 3] px of the image, confidence


class BatchedMesh:
    """478 points of faces in regions. Threads may share one.

    While a batch runs on the device, the requests that arrive are collected for the next one. Which faces
    share a batch changes points by the rounding of float32 only.

    Args:
        device: `cuda`, `cpu`, or `auto` for a GPU if there is one.

    Raises:
        FileNotFoundError: MediaPipe, which carries the network, is not installed.
    """

    def __init__(self, device: str) -> None:
        self._device: Any = fastest_device() if device == "auto" else device
        self._network = load_embedded("attention_mesh").to(self._device)
        self._runner = ThreadPoolExecutor(1, thread_name_prefix="face mesh")
        self._lock = threading.Lock()
        self._waiting: list[_Request] = []
        self.batches = self.faces = 0

    @property
    def waiting(self) -> int:
        """Faces that wait for the next batch."""
        return len(self._waiting)

    def find(
        self, image: NDArray[np.uint8], region: Region, minimum_confidence: float
    ) -> NDArray[np.float32] | None:
        """As `faces.tflite.mesh.AttentionMesh.find`."""
        request = _Request(image, region)
        with self._lock:
            self._waiting.append(request)
            future = self._runner.submit(self._run, request)
        future.result()
        assert request.answer is not None
        points, confidence = request.answer
        return points if confidence > minimum_confidence else None

    def _run(self, request: _Request) -> None:
        """Answer a request together with those that wait behind it, unless an earlier batch had it."""
        if request.answer is not None:
            return
        with self._lock:
            batch = self._waiting[:MAXIMUM_BATCH]
            self._waiting = self._waiting[MAXIMUM_BATCH:]
        if not any(each is request for each in batch):
            batch.append(request)  # its batch failed, which raised for another thread
        points, confidences = self.find_all([each.image for each in batch], [each.region for each in batch])
        for each, found, confidence in zip(batch, points, confidences, strict=True):
            each.answer = found, float(confidence)
        self.batches += 1
        self.faces += len(batch)

    def find_all(
        self, images: Sequence[NDArray[np.uint8]], regions: Sequence[Region]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Find the points of one face in each image.

        Args:
            images: B squares [S, S, 3] RGB, of any sides.
            regions: where the faces are.

        Returns:
            [B, 478, 3] px of each image, z with the scale of x; [B] confidence that a face is there, 0 to 1.
        """
        import torch

        largest = max(len(image) for image in images)
        pictures = np.zeros((len(images), largest, largest, 3), np.uint8)
        for picture, image in zip(pictures, images, strict=True):
            picture[: len(image), : len(image)] = image
        to_image = np.stack([region.to_image() for region in regions])
        sides = np.array([len(image) for image in images], np.float32)
        with torch.inference_mode():
            cut = cut_regions(
                *(torch.from_numpy(each).to(self._device) for each in (pictures, to_image, sides))
            )
            points, logits = self._network(cut)
            confidences = logits.sigmoid().cpu().numpy()
            found = points.cpu().numpy().astype(np.float64)
        found[..., :2] = found[..., :2] @ to_image[:, :, :2].transpose(0, 2, 1) + to_image[:, None, :, 2]
        found[..., 2] *= np.array([region.side for region in regions])[:, None] / SIDE_PX
        return found.astype(np.float32), confidences


def cut_regions(pictures: Any, to_image: Any, sides: Any) -> Any:
    """Bilinear samples of regions, the edge repeated outside: [B, 3, 192, 192] float32 in [0, 1].

    Args:
        pictures: uint8 tensor [B, L, L, 3], each in the top left corner.
        to_image: float64 tensor [B, 2, 3], map from the region's pixels to the picture's.
        sides: float32 tensor [B], of the pictures in px.
    """
    import torch
    from torch.nn import functional

    ticks = torch.arange(SIDE_PX, device=pictures.device, dtype=to_image.dtype)
    across, down, shift = (column[..., None] for column in to_image.unbind(dim=2))  # each [B, 2, 1]
    # OpenCV's fixed point, rounded term by term, so that both paths see the same picture.
    columns = (across * ticks * FIXED_POINT).round()[:, :, None, :]
    rows = ((down * ticks + shift) * FIXED_POINT).round()[:, :, :, None]
    steps = ((columns + rows) * (STEPS_PER_PX / FIXED_POINT) + 0.5).floor()
    places = (steps / STEPS_PER_PX).float().flatten(2).transpose(1, 2)  # [B, 192 * 192, 2]
    places = torch.minimum(places.clamp(min=0.0), sides[:, None, None] - 1.0)
    scaled = places * (2.0 / (pictures.shape[1] - 1)) - 1.0
    values = pictures.permute(0, 3, 1, 2).float()
    samples = functional.grid_sample(
        values, scaled.reshape(-1, SIDE_PX, SIDE_PX, 2), padding_mode="border", align_corners=True
    )
    return samples.round() / 255.0  # whole grey levels, as OpenCV returns them


@cache
def batched_mesh(device: str) -> BatchedMesh:
    """One a process, for all its threads."""
    return BatchedMesh(device)
