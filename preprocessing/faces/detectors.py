"""Face detectors of the step `face_tracks`: MediaPipe's full-range detector, and InsightFace's."""

from collections.abc import Mapping
from typing import ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.faces.mesh import MEDIAPIPE_VERSION, FaceDetector
from preprocessing.faces.shape.geometry import intersection_over_union
from preprocessing.faces.tflite.detector import FullRangeDetector
from preprocessing.labellers import faces_insightface
from preprocessing.labellers.backend import Backend, BackendSettings


class Detector(Protocol):
    """Detects faces in whole pictures."""

    mesh_over_box: ClassVar[float]  # side of the face mesh's box over that of the detector's, about

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[N, 5] left, top, right, bottom in pixels of [H, W, 3] RGB, and the score, best first."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


BACKENDS: Final[Mapping[str, Backend[Detector]]] = {
    "mediapipe": Backend(
        name="mediapipe",
        version=MEDIAPIPE_VERSION,
        factory=FullRangeDetector,
        settings=("mediapipe_confidence",),
    ),
    "mediapipe_graph": Backend(name="mediapipe_graph", version=MEDIAPIPE_VERSION, factory=FaceDetector),
    "insightface": faces_insightface.BACKEND,
}

TILE_SIDE_PX: Final = 640  # a face of 64 px is a tenth of it; detectors find a twentieth
TILE_STEP_PX: Final = 480  # so that a face of up to 160 px is whole in a tile; larger ones need none
# A face of 64 px is a sixteenth of it by the detector's box: smaller ones beside a larger face are missed.
LARGEST_WHOLE_PX: Final = 800


def find_in_tiles(detector: Detector, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Detect small faces in a large picture, tile by tile at full size.

    Args:
        detector: of whole pictures, which it scales down.
        image: [H, W, 3] RGB.

    Returns:
        As `Detector.find`, at most as large as two tiles overlap; a face in two tiles is there once. Nothing
        for pictures of at most `LARGEST_WHOLE_PX`.
    """
    height, width = image.shape[:2]
    if max(height, width) <= LARGEST_WHOLE_PX:
        return np.zeros((0, 5), np.float32)
    found: list[NDArray[np.float32]] = []
    for top in _tile_starts(height):
        for left in _tile_starts(width):
            tile = np.ascontiguousarray(image[top : top + TILE_SIDE_PX, left : left + TILE_SIDE_PX])
            shift = np.array([left, top, left, top, 0], np.float32)
            boxes = detector.find(tile)
            is_small = (boxes[:, 2:4] - boxes[:, :2]).max(axis=1, initial=0.0) <= TILE_SIDE_PX - TILE_STEP_PX
            found += [box + shift for box in boxes[is_small]]
    kept: list[NDArray[np.float32]] = []
    for box in sorted(found, key=lambda box: -box[4]):
        corners = box[:4].astype(np.float64)
        if all(intersection_over_union(corners, other[:4].astype(np.float64)) <= 0.2 for other in kept):
            kept.append(box)
    return np.asarray(kept, np.float32).reshape(-1, 5)


def _tile_starts(length: int) -> list[int]:
    """Evenly spaced starts of tiles that cover `length` px and overlap enough."""
    if length <= TILE_SIDE_PX:
        return [0]
    steps = -(-(length - TILE_SIDE_PX) // TILE_STEP_PX)
    return [round(number * (length - TILE_SIDE_PX) / steps) for number in range(steps + 1)]


class DetectorSettings(BackendSettings):
    """Which detector finds the faces."""

    backends: ClassVar = BACKENDS

    backend: str = Field(
        default="mediapipe",
        description="Face detector; mediapipe_graph: mediapipe's network, run by MediaPipe itself",
        json_schema_extra={"enum": [*BACKENDS]},
    )
    mediapipe_confidence: float = Field(
        default=0.6,
        ge=0.0,
        le=1.0,
        description="Minimum score of the detector mediapipe; mediapipe_graph always takes 0.6",
    )
    insightface_confidence: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Minimum score of InsightFace's detector; not comparable with MediaPipe's",
    )
