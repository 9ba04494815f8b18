"""Faces in whole pictures by SCRFD: InsightFace's detector (`det_10g.onnx` of buffalo_l), run by onnxruntime.

The file's layout, the arithmetic from its outputs to boxes and the suppression of overlapping ones are the
package insightface's own (`insightface.model_zoo.scrfd`). onnxruntime and insightface are imported when a
detector is opened.
"""

from pathlib import Path
from typing import Any, ClassVar, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.labellers.onnx_network import WAY_OUT, open_session

NAME: Final = "insightface"
VERSION: Final = "1"
INPUT_SIDE_PX: Final = 640  # insightface's own (`FaceAnalysis.prepare`), and what SCRFD is measured at
STRIDES_PX: Final = (8, 16, 32)
ANCHORS: Final = 2  # at every place of every stride
WIDTHS: Final = (1, 4, 10)  # of an anchor's score, of its box (a distance a side), of its five points
THREADS: Final = 1  # faces are tracked in a process a core, and boxes must not hang on the number of cores


class ScrfdDetector:
    """A detector of a file.

    Boxes of another provider of onnxruntime (CUDA's) differ in the last digits from the CPU's.

    Args:
        weights: the file.
        minimum_confidence: score, 0 to 1, from which on a face is found; SCRFD's own scale, where insightface
            takes 0.5.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no ONNX model, or no SCRFD with five points.
    """

    # The boxes of WIDER FACE, which it was trained with, hold a face from forehead to chin, as the mesh's do.
    # Not measured; the first window alone hangs on it, and may be a third off.
    mesh_over_box: ClassVar[float] = 1.0

    def __init__(self, weights: Path, minimum_confidence: float = 0.5) -> None:
        session = open_session(weights, THREADS)
        _check_layout(weights, session)
        from insightface.model_zoo.scrfd import SCRFD

        self._network: Any = SCRFD(session=session)
        # 0 leaves the session's provider as it is.
        self._network.prepare(0, input_size=(INPUT_SIDE_PX, INPUT_SIDE_PX), det_thresh=minimum_confidence)

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Find faces.

        Args:
            image: [H, W, 3] RGB; seen at 640 px on its longer side.

        Returns:
            [N, 5] left, top, right, bottom in pixels, cut at the picture's edge, and the score, best first.
        """
        height, width = image.shape[:2]
        found, _ = self._network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        boxes = np.asarray(found, np.float32).reshape(-1, 5)
        # A box far beyond the picture would be a window larger than memory.
        boxes[:, :4] = boxes[:, :4].clip(0, np.array([width, height] * 2, np.float32))
        return boxes[(boxes[:, 2:4] > boxes[:, :2]).all(axis=1)]

    def close(self) -> None:
        """Free the network."""
        self._network = None


def _check_layout(weights: Path, session: Any) -> None:
    """Run a black picture: a file may tell its outputs' shapes as unknown, or wrong."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    taken = [one.shape for one in inputs]
    places = [ANCHORS * (INPUT_SIDE_PX // stride) ** 2 for stride in STRIDES_PX]
    wanted = [(number, width) for width in WIDTHS for number in places]
    fits = len(taken) == 1 and len(taken[0]) == 4 and len(outputs) == len(wanted)
    if not fits or any(
        isinstance(told, int) and told != side
        for told, side in zip(taken[0], (1, 3, INPUT_SIDE_PX, INPUT_SIDE_PX), strict=True)
    ):
        raise ValueError(
            f"{weights} takes {taken} and has {len(outputs)} outputs; a SCRFD with five points takes "
            f"[1, 3, {INPUT_SIDE_PX}, {INPUT_SIDE_PX}] and has {len(wanted)}, as det_10g.onnx does; {WAY_OUT}"
        )
    black = np.full((1, 3, INPUT_SIDE_PX, INPUT_SIDE_PX), -127.5 / 128, np.float32)
    given = session.run(None, {inputs[0].name: black})
    shapes = [one.shape[-2:] for one in given]
    if shapes != wanted:
        raise ValueError(f"{weights} gives {shapes}; a SCRFD with five points gives {wanted}; {WAY_OUT}")
    scores = np.concatenate([one.ravel() for one in given[: len(STRIDES_PX)]])
    if not all(np.isfinite(one).all() for one in given) or scores.min() < 0 or scores.max() > 1:
        raise ValueError(
            f"{weights} gives scores of {scores.min():g} to {scores.max():g}, need 0 to 1, and all finite: "
            "are these its weights?"
        )
