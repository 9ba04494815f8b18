"""Face detectors of the step `face_tracks`: MediaPipe's full-range detector, and InsightFace's."""

from collections.abc import Mapping
from typing import ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.faces.mesh import MEDIAPIPE_VERSION, FaceDetector
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
        factory=FaceDetector,
        settings=("mediapipe_confidence",),
    ),
    "insightface": faces_insightface.BACKEND,
}


class DetectorSettings(BackendSettings):
    """Which detector finds the faces."""

    backends: ClassVar = BACKENDS

    backend: str = Field(
        default="mediapipe", description="Face detector", json_schema_extra={"enum": [*BACKENDS]}
    )
    mediapipe_confidence: float = Field(
        default=0.5, ge=0.0, le=1.0, description="Minimum score of MediaPipe's detector"
    )
    insightface_confidence: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Minimum score of InsightFace's detector; not comparable with MediaPipe's",
    )
