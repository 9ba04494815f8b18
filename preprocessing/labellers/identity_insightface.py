"""Identity by ArcFace: InsightFace's recognition network (`w600k_r50.onnx` of buffalo_l), run by onnxruntime.

Faces are aligned by `arcface_alignment`, red, green, blue, less 127.5 and divided by 127.5; an embedding has
length one. onnx and onnxruntime are imported when a network is opened.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.labellers.arcface_alignment import FACE_SIDE_PX, aligned_face
from preprocessing.labellers.onnx_network import WAY_OUT, open_session
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import Clip

NAME: Final = "insightface"
VERSION: Final = "1"


class FaceEmbedder:
    """A recognition network of a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no ONNX model, or not one of faces [n, 3, 112, 112] to features [n, D].
    """

    def __init__(self, weights: Path) -> None:
        self._session = open_session(weights)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = [one.shape for one in inputs]
        if len(inputs) != 1 or len(outputs) != 1 or shape[0][1:] != [3, FACE_SIDE_PX, FACE_SIDE_PX]:
            raise ValueError(
                f"{weights} takes {shape} and has {len(outputs)} outputs; a recognition network takes "
                f"[n, 3, {FACE_SIDE_PX}, {FACE_SIDE_PX}] and has one, as w600k_r50.onnx does; {WAY_OUT}"
            )
        self._at_once = shape[0][0] if isinstance(shape[0][0], int) else None  # faces, where a file fixes it

    def embed(self, clip: Clip, frames: Sequence[int]) -> NDArray[np.float32]:
        """[len(frames), D] of some of a clip's frames, each of length one."""
        return self.embed_faces(
            np.stack([_face(clip.frames_jpeg[frame], clip.landmarks_px[frame]) for frame in frames])
        )

    def embed_faces(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[N, D] of aligned faces [N, 112, 112, 3] RGB, each of length one.

        Raises:
            ValueError: the network gives what is no table of finite features, or a feature of length zero.
        """
        batch = ((faces.astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)
        size = self._at_once or len(batch)
        name = self._session.get_inputs()[0].name
        pieces = [batch[start : start + size] for start in range(0, len(batch), size)]
        found = np.concatenate(
            [self._session.run(None, {name: np.ascontiguousarray(piece)})[0] for piece in pieces]
        )
        lengths = np.linalg.norm(found.reshape(len(found), -1), axis=1, keepdims=True)
        if found.ndim != 2 or not np.isfinite(lengths).all() or not lengths.all():
            raise ValueError(
                f"{NAME}: features {list(found.shape)} of lengths {lengths.min():g} to {lengths.max():g}; "
                f"need [{len(faces)}, D], finite and not zero: are these its weights?"
            )
        return (found / lengths).astype(np.float32)


def _face(jpeg: bytes, landmarks_px: NDArray[np.float32]) -> NDArray[np.uint8]:
    return aligned_face(decode_jpeg(jpeg), landmarks_px)
