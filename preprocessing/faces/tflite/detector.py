"""MediaPipe's two face detectors, run without its graphs: full range for pictures, short range for windows.

The pre- and postprocessing of `mediapipe/modules/face_detection`: a letterboxed square, anchors of one size,
suppression of overlapping boxes by their weighted mean.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.tflite.graph import Network, wheel_file

OVERLAP: Final = 0.3  # face_detection.pbtxt, min_suppression_threshold
SCORE_LIMIT: Final = 100.0  # score_clipping_thresh


@dataclass(frozen=True)
class DetectorNetwork:
    """A detector's file, its input, and its grids of anchors."""

    file: str
    side_px: int
    grids: tuple[tuple[int, int], ...]  # cells a side, boxes a cell


# face_detection_short_range.pbtxt: strides 8, 16, 16, 16, two boxes a cell and stride.
SHORT_RANGE: Final = DetectorNetwork(
    "face_detection/face_detection_short_range.tflite", 128, ((16, 2), (8, 6))
)
# face_detection_full_range.pbtxt: stride 4.
FULL_RANGE: Final = DetectorNetwork("face_detection/face_detection_full_range_sparse.tflite", 192, ((48, 1),))


class FaceBoxes:
    """Finds boxes and eyes of the faces in a picture."""

    def __init__(self, network: DetectorNetwork, minimum_confidence: float) -> None:
        self._network = Network(wheel_file(network.file).read_bytes())
        self._side_px = network.side_px
        self._anchors = np.concatenate([_anchors(*grid) for grid in network.grids])
        confidence = min(max(minimum_confidence, 1e-6), 1.0 - 1e-6)
        self._minimum_logit = float(np.log(confidence / (1.0 - confidence)))

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Detect faces in [H, W, 3] RGB.

        Returns:
            [N, 9] left, top, right, bottom, x and y of the image-left and the image-right eye, all in pixels,
            and the score, best first.
        """
        height, width = image.shape[:2]
        longer = max(height, width)
        corner = np.array([width - longer, height - longer]) / 2
        picture = self._letterboxed(image, corner, longer / self._side_px)
        np.multiply(picture, np.float32(2 / 255), out=self._network.input()[0])
        self._network.input()[0] -= 1.0
        regressors, logits = (output[0].astype(np.float64) for output in self._network.run())
        likely = logits[:, 0] >= self._minimum_logit
        coordinates = regressors[likely, :8].reshape(-1, 4, 2) / self._side_px  # centre, size, two eyes
        anchors = self._anchors[likely]
        half = coordinates[:, 1] / 2
        low, high = coordinates[:, 0] + anchors - half, coordinates[:, 0] + anchors + half
        eyes = coordinates[:, 2:] + anchors[:, None]
        points = np.concatenate([low[:, None], high[:, None], eyes], axis=1)
        scores = 1.0 / (1.0 + np.exp(-np.clip(logits[likely], -SCORE_LIMIT, SCORE_LIMIT)))
        found = np.concatenate([(points * longer + corner).reshape(-1, 8), scores], axis=1)
        return suppress_overlapping(found[(half > 0.0).all(axis=1)])

    def _letterboxed(
        self, image: NDArray[np.uint8], corner: NDArray[np.float64], zoom: float
    ) -> NDArray[np.uint8]:
        to_image = np.array([[zoom, 0.0, corner[0]], [0.0, zoom, corner[1]]])
        size, flags = (self._side_px, self._side_px), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(image, to_image, size, flags=flags), np.uint8)


class FullRangeDetector:
    """Faces down to a twentieth of the picture's longer side; a `detectors.Detector`."""

    mesh_over_box: ClassVar[float] = 1.25  # about: side of the face mesh's box / side of the detector's

    def __init__(self, minimum_confidence: float) -> None:
        self._boxes = FaceBoxes(FULL_RANGE, minimum_confidence)

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `detectors.Detector.find`."""
        return self._boxes.find(image)[:, [0, 1, 2, 3, 8]].astype(np.float32)

    def close(self) -> None:
        """Nothing to free: the network goes with the object."""


def _anchors(cells: int, boxes: int) -> NDArray[np.float64]:
    """[cells * cells * boxes, 2] x and y of the centres of a grid's cells, 0 to 1."""
    ticks = (np.arange(cells) + 0.5) / cells
    x, y = np.meshgrid(ticks, ticks)
    return np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), boxes, axis=0)


def suppress_overlapping(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace boxes that overlap a better one by the mean, weighted by score; as `find` returns them."""
    left = found[np.argsort(-found[:, 8], kind="stable")]
    kept: list[NDArray[np.float64]] = []
    while len(left):
        overlaps = _intersections_over_unions(left[0, :4], left[:, :4]) > OVERLAP
        overlaps[0] = True
        same = left[overlaps]
        mean = same[:, 8] @ same[:, :8] / same[:, 8].sum()
        kept.append(np.append(mean, left[0, 8]))
        left = left[~overlaps]
    return np.asarray(kept, np.float64).reshape(-1, 9)


def _intersections_over_unions(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    extents = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.maximum(extents, 0.0).prod(axis=1)
    return shared / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared)
