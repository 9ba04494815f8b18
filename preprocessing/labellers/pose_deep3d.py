"""Backend `deep3d` of `pose_labels`: Deep3DFaceRecon's network, by torch.hub; its coefficients are kept.

What it is shown and how its angles and translation are told in our frame: `deep3d_alignment`.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocessing.labellers.deep3d_alignment import (
    Alignment,
    aligned_picture,
    find_alignment,
    pose_from_coefficients,
)
from preprocessing.labellers.hub_network import fastest_device, network_from_hub
from preprocessing.labellers.pose_backend import LabelledPose, mean_face_residual_px
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import COEFFICIENT_COUNT, Clip

NAME: Final = "deep3d"
VERSION: Final = "1"
ENTRY: Final = "deep3d_reconstruction"
FRAMES_AT_ONCE: Final = {"cpu": 8, "cuda": 64}  # a CPU's cache holds no more maps


class AlignedClip(NamedTuple):
    """What the network is shown of a clip, and how it was aligned."""

    landmarks_px: NDArray[np.float32]  # [T, 478, 3] of the crop
    alignment: Alignment
    pictures: list[NDArray[np.uint8]]  # T of [224, 224, 3] RGB


class Deep3DPose:
    """A network, ready for clips (`ClipNetwork`).

    Args:
        network: [T, 3, 224, 224] RGB in [0, 1] -> [T, 257]; a torch module.
    """

    def __init__(self, network: Any) -> None:
        self._device = fastest_device()
        self._network = network.to(self._device)

    def prepare(self, clip: Clip) -> AlignedClip:
        """A clip's pictures, aligned by its landmarks."""
        alignment = find_alignment(clip.landmarks_px)
        places = zip(clip.frames_jpeg, alignment.scale, alignment.centre_px, strict=True)
        pictures = [
            aligned_picture(decode_jpeg(jpeg), float(scale), centre) for jpeg, scale, centre in places
        ]
        return AlignedClip(clip.landmarks_px, alignment, pictures)

    def label(self, ready: AlignedClip) -> LabelledPose:
        """Label a clip.

        Raises:
            ValueError: the network gives something else than 257 finite coefficients a frame.
        """
        coefficients = self.coefficients(ready.pictures)
        pose = pose_from_coefficients(coefficients, ready.alignment).astype(np.float32)
        return LabelledPose(pose, mean_face_residual_px(pose, ready.landmarks_px), coefficients)

    def coefficients(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """[T, 257] of T aligned pictures [224, 224, 3] RGB, some at once."""
        size = FRAMES_AT_ONCE[self._device.type]
        pieces = [pictures[start : start + size] for start in range(0, len(pictures), size)]
        return np.concatenate([self._coefficients(np.stack(piece)) for piece in pieces])

    def _coefficients(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        batch = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2).float() / 255.0
        with torch.inference_mode():
            found = self._network(batch).cpu().numpy()
        if found.shape != (len(pictures), COEFFICIENT_COUNT) or not np.isfinite(found).all():
            raise ValueError(
                f"{NAME}: the network gave {list(found.shape)}, {(~np.isfinite(found)).sum()} of them not "
                f"finite; need {[len(pictures), COEFFICIENT_COUNT]}: are these its weights?"
            )
        return found


@contextmanager
def open_backend(file: Path) -> Generator[Deep3DPose]:
    """The labeller of a checkpoint. Raises as `network_from_hub`."""
    yield Deep3DPose(network_from_hub(ENTRY, file))
