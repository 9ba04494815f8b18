"""Face detector `insightface` of `face_tracks`: SCRFD (`det_10g.onnx` of buffalo_l), run by onnxruntime.

The package insightface decodes its outputs and suppresses overlapping boxes (`insightface.model_zoo.scrfd`).
onnxruntime and insightface are imported when a detector is opened.
"""

from pathlib import Path
from typing import Any, ClassVar, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.labellers.backend import Backend, WeightsRequest
from preprocessing.labellers.networks import ONNX_HELP, open_onnx

NAME: Final = "insightface"
VERSION: Final = "1"
INPUT_SIDE_PX: Final = 640  # insightface's default (`FaceAnalysis.prepare`), and SCRFD's benchmark size
STRIDES_PX: Final = (8, 16, 32)
ANCHORS: Final = 2  # per position and stride
WIDTHS: Final = (1, 4, 10)  # of an anchor's score, its box (a distance per side) and its five points
THREADS: Final = 1  # there is a process per core, and boxes must not depend on the number of cores


class ScrfdDetector:
    """Detects faces by a network.

    Boxes of onnxruntime's CUDA provider differ from the CPU's in the last digits.

    Args:
        weights: the file.
        minimum_confidence: smallest score of a face, 0 to 1, on SCRFD's own scale; insightface's default is
            0.5.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is not an ONNX model, or not a SCRFD with five points.
    """

    # Boxes of WIDER FACE, its training data, span forehead to chin, as the mesh's do. Not measured; only the
    # first window depends on it, and may be off by a third.
    mesh_over_box: ClassVar[float] = 1.0

    def __init__(self, weights: Path, minimum_confidence: float = 0.5) -> None:
        session = open_onnx(weights, THREADS)
        _check_layout(weights, session)
        from insightface.model_zoo.scrfd import SCRFD

        self._network: Any = SCRFD(session=session)
        # 0 keeps the session's provider.
        self._network.prepare(0, input_size=(INPUT_SIDE_PX, INPUT_SIDE_PX), det_thresh=minimum_confidence)

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Detect faces.

        Args:
            image: [H, W, 3] RGB; resized to 640 px on the longer side.

        Returns:
            [N, 5] left, top, right, bottom in pixels, clipped to the picture, and the score, best first.
        """
        height, width = image.shape[:2]
        detections, _ = self._network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        boxes = np.asarray(detections, np.float32).reshape(-1, 5)
        # An unclipped box can ask for a window larger than memory.
        boxes[:, :4] = boxes[:, :4].clip(0, np.array([width, height] * 2, np.float32))
        return boxes[(boxes[:, 2:4] > boxes[:, :2]).all(axis=1)]

    def close(self) -> None:
        """Free the network."""
        self._network = None


def _check_layout(weights: Path, session: Any) -> None:
    """Run a black picture: a file's declared output shapes may be unknown or wrong."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    input_shapes = [each.shape for each in inputs]
    anchors = [ANCHORS * (INPUT_SIDE_PX // stride) ** 2 for stride in STRIDES_PX]
    expected = [(count, width) for width in WIDTHS for count in anchors]
    fits = len(inputs) == 1 and len(input_shapes[0]) == 4 and len(outputs) == len(expected)
    if not fits or any(
        isinstance(side, int) and side != need
        for side, need in zip(input_shapes[0], (1, 3, INPUT_SIDE_PX, INPUT_SIDE_PX), strict=True)
    ):
        raise ValueError(
            f"{weights} takes {input_shapes} and has {len(outputs)} outputs, need a SCRFD with five points: "
            f"[1, 3, {INPUT_SIDE_PX}, {INPUT_SIDE_PX}] and {len(expected)}, as det_10g.onnx; {ONNX_HELP}"
        )
    black = np.full((1, 3, INPUT_SIDE_PX, INPUT_SIDE_PX), -127.5 / 128, np.float32)
    results = session.run(None, {inputs[0].name: black})
    shapes = [result.shape[-2:] for result in results]
    if shapes != expected:
        raise ValueError(
            f"{weights} outputs {shapes}, need {expected} of a SCRFD with five points; {ONNX_HELP}"
        )
    scores = np.concatenate([result.ravel() for result in results[: len(STRIDES_PX)]])
    if not all(np.isfinite(result).all() for result in results) or scores.min() < 0 or scores.max() > 1:
        raise ValueError(
            f"{weights} outputs scores of {scores.min():g} to {scores.max():g}, need finite values of 0 "
            "to 1: wrong weights?"
        )


BACKEND: Final = Backend(
    name=NAME,
    version=VERSION,
    factory=ScrfdDetector,
    settings=("insightface_confidence",),
    weights=WeightsRequest("buffalo_l", "insightface_detector_weights"),
)
