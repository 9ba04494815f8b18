"""Who finds faces in whole pictures: MediaPipe's full-range detector, or InsightFace's of outside weights."""

from typing import ClassVar, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from preprocessing.faces.mesh import FaceDetector
from preprocessing.labellers import faces_insightface
from preprocessing.labellers.weights import (
    LabellerWeights,
    WantedWeights,
    check_choice,
    labeller_name,
    weights_of,
)
from storage.settings import Settings

STEP: Final = "face_tracks"
DEFAULT: Final = "mediapipe"
BackendName = Literal["mediapipe", "insightface"]


class DetectorSettings(Settings):
    """Which detector finds the faces."""

    backend: BackendName = Field(
        default=DEFAULT, description="Face detector; insightface needs pretrained weights"
    )
    insightface_confidence: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Minimum score of InsightFace's detector; not comparable with MediaPipe's",
    )
    weights: str = Field(
        default="",
        description="Pretrained weights of the backend: a name of `pdfgc weights`, or a path; empty: the "
        "backend's own name",
    )

    @model_validator(mode="after")
    def _check_backend(self) -> "DetectorSettings":
        check_choice(STEP, self.backend, self.weights, DEFAULT, ("insightface",))
        return self


class Detector(Protocol):
    """Finds faces in whole pictures."""

    mesh_over_box: ClassVar[float]  # side of the face mesh's box over that of the detector's, about

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[N, 5] left, top, right, bottom in pixels of [H, W, 3] RGB, and the score, best first."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


def wanted_weights(settings: DetectorSettings) -> WantedWeights | None:
    """What the backend runs; None for the default."""
    if settings.backend == DEFAULT:
        return None
    return WantedWeights(settings.weights or "buffalo_l", "insightface_detector_weights")


def detector_name(settings: DetectorSettings, weights: LabellerWeights | None = None) -> str | None:
    """Who finds the faces, as samples and recipes tell it; None for the default, which is not told."""
    if settings.backend == DEFAULT:
        return None
    return labeller_name(faces_insightface.NAME, faces_insightface.VERSION, weights)


def open_detector(
    settings: DetectorSettings, mediapipe_confidence: float, weights: LabellerWeights | None
) -> Detector:
    """The detector of the settings.

    Args:
        settings: which.
        mediapipe_confidence: score from which on MediaPipe's has found a face.
        weights: that the backend runs; the default wants none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the backend wants weights and has none, or the file is not what it runs.
    """
    if settings.backend == DEFAULT:
        return FaceDetector(mediapipe_confidence)
    path = weights_of(STEP, settings.backend, weights).path
    return faces_insightface.ScrfdDetector(path, settings.insightface_confidence)
