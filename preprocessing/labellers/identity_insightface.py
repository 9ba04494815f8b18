"""Backend of `identity_embeddings`: InsightFace's ArcFace (`w600k_r50.onnx` of buffalo_l).

Faces are aligned by `arcface_alignment`; RGB, minus 127.5, divided by 127.5; embeddings have length one. onnx
and onnxruntime are imported when a network is opened.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from preprocessing.labellers.arcface_alignment import FACE_SIDE_PX, aligned_face
from preprocessing.labellers.backend import Backend, ClipLabeller, WeightsRequest
from preprocessing.labellers.networks import ONNX_HELP, open_onnx
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import Clip

NAME: Final = "insightface"
VERSION: Final = "1"


class ClipFrames(NamedTuple):
    """A clip and those of its frames that are embedded."""

    clip: Clip
    frames: Sequence[int]


class FaceEmbedder(ClipLabeller[ClipFrames, NDArray[np.uint8], NDArray[np.float32]]):
    """Embeds faces by a recognition network.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is not an ONNX model, or not one of faces [n, 3, 112, 112] to features [n, D].
    """

    def __init__(self, weights: Path) -> None:
        self._session = open_onnx(weights)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [each.shape for each in inputs]
        if len(inputs) != 1 or len(outputs) != 1 or shapes[0][1:] != [3, FACE_SIDE_PX, FACE_SIDE_PX]:
            raise ValueError(
                f"{weights} takes {shapes} and has {len(outputs)} outputs, need one input "
                f"[n, 3, {FACE_SIDE_PX}, {FACE_SIDE_PX}] and one output, as w600k_r50.onnx; {ONNX_HELP}"
            )
        self._batch = shapes[0][0] if isinstance(shapes[0][0], int) else None  # where the file fixes it

    @override
    def prepare(self, item: ClipFrames) -> NDArray[np.uint8]:
        """Decode and align the faces: [N, 112, 112, 3] RGB."""
        clip = item.clip
        faces = [
            aligned_face(decode_jpeg(clip.frames_jpeg[frame]), clip.landmarks_px[frame])
            for frame in item.frames
        ]
        return np.stack(faces)

    @override
    def label(self, prepared: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[N, D] embeddings of length one, of aligned faces [N, 112, 112, 3] RGB.

        Raises:
            ValueError: the network's output is not a table of finite features, or a feature has length zero.
        """
        batch = ((prepared.astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)
        size = self._batch or len(batch)
        name = self._session.get_inputs()[0].name
        pieces = [batch[start : start + size] for start in range(0, len(batch), size)]
        features = np.concatenate(
            [self._session.run(None, {name: np.ascontiguousarray(piece)})[0] for piece in pieces]
        )
        lengths = np.linalg.norm(features.reshape(len(features), -1), axis=1, keepdims=True)
        if features.ndim != 2 or not np.isfinite(lengths).all() or not lengths.all():
            raise ValueError(
                f"{NAME}: features {list(features.shape)} of lengths {lengths.min():g} to {lengths.max():g}, "
                f"need [{len(prepared)}, D], finite and not zero: wrong weights?"
            )
        return (features / lengths).astype(np.float32)


BACKEND: Final = Backend(
    name=NAME,
    version=VERSION,
    factory=FaceEmbedder,
    weights=WeightsRequest("buffalo_l", "insightface_weights"),
)
