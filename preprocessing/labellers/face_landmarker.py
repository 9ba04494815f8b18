"""MediaPipe's FaceLandmarker (Tasks): blendshapes as expression labels, and a second opinion on head pose.

The model is a file of its own (`face_landmarker` of the outside weights, Apache-2.0). It looks at every frame
by itself. Its transformation matrix is of a camera with a vertical opening of 63°, and it takes a face that
fills such a camera's picture for one seen from very near: of a crop looked at as it is, 0.80 of the true yaw
comes out on the demo corpus; of a crop in the middle of a black canvas three times as wide, 0.88 (the default
labeller: 0.94; of the pitch 0.88 against its 0.77). On a canvas of five and a half crops, which would be the
crop camera itself, two faces in three are not found. So the canvas is three crops wide.

The rotation is told as it comes. By its geometry it should turn with the line of sight to the face; measured
on crops moved by 150 px on the canvas it does by 0.28 of that, less than 1° for a face in the middle of its
crop. Against the demo corpus' truth the pitch lies 1.0° too low (the face is told to look up too far).

Frame of reference, angles and signs: `preprocessing.faces.frame_of_reference`.
"""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.faces.frame_of_reference import (
    CROP_FOCAL_PX,
    REFERENCE_DISTANCE_CM,
    angles_from_rotation,
)
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import CROP_SIDE_PX
from storage.settings import Settings

WAY_OUT: Final = "`pdfgc weights fetch face_landmarker` gets the published file"
NAME: Final = "face_landmarker"
VERSION: Final = "1"
BLENDSHAPES: Final = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft",
    "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight",
    "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight",
    "mouthFrownLeft", "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
"""In the model's order; left and right are the person's, so that left is the image's right."""

CANVAS_CROPS: Final = 3  # odd, so that the crop lies in the middle by whole pixels
CANVAS_SIDE_PX: Final = CANVAS_CROPS * CROP_SIDE_PX
CAMERA_OPENING_DEGREES: Final = 63.0  # of MediaPipe's camera, top to bottom (FaceGeometry's default)
CAMERA_FOCAL_PX: Final = CANVAS_SIDE_PX / 2 / float(np.tan(np.radians(CAMERA_OPENING_DEGREES / 2)))
# Midway between the eyeballs in the coordinates that the matrix carries, and how many of our centimetres one
# of its is: least squares against the truth of the demo corpus; `benchmarks.landmarker_agreement` fits them
# again.
HEAD_ORIGIN_CM: Final = (0.0, 2.98, 2.13)
CENTIMETRES_PER_UNIT: Final = 0.945


class FaceLandmarkerSettings(Settings):
    """What counts as a face."""

    minimum_confidence: float = Field(
        default=0.5, ge=0.0, le=1.0, description="Minimum score of MediaPipe's face detection"
    )


class FaceLandmarks(NamedTuple):
    """What the model says of T frames; NaN where it found no face."""

    matrix: NDArray[np.float32]  # [T, 4, 4] as it comes: face coordinates into the canvas' camera
    pose: NDArray[np.float32]  # [T, 6] pitch, yaw, roll rad; x, y, z cm
    blendshapes: NDArray[np.float32]  # [T, 52] 0 to 1, in the order of `BLENDSHAPES`
    found: NDArray[np.bool_]  # [T]


class FaceLandmarker:
    """The model of a file, ready to look at crops; imports mediapipe when it is made.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no FaceLandmarker's task file.
    """

    def __init__(self, model: Path, settings: FaceLandmarkerSettings | None = None) -> None:
        if not model.is_file():
            raise FileNotFoundError(f"no model of {NAME} at {model}")
        if not zipfile.is_zipfile(model):  # told before MediaPipe, which tells it in pages
            raise ValueError(f"{model} is no MediaPipe task file, or is cut short; {WAY_OUT}")
        self._landmarker = _open_model(model, settings or FaceLandmarkerSettings())

    def label(self, crops: Iterable[NDArray[np.uint8]]) -> FaceLandmarks:
        """Label crops [224, 224, 3] RGB, each by itself.

        Raises:
            ValueError: a crop has another shape.
        """
        matrices: list[NDArray[np.float64]] = []
        blendshapes: list[NDArray[np.float64]] = []
        for crop in crops:
            matrix, scores = self._look(crop)
            matrices.append(matrix)
            blendshapes.append(scores)
        matrix = np.array(matrices).reshape(-1, 4, 4)
        pose = np.array([pose_from_matrix(one) for one in matrix]).reshape(-1, 6)
        scores = np.array(blendshapes).reshape(-1, len(BLENDSHAPES))
        return FaceLandmarks(
            matrix.astype(np.float32),
            pose.astype(np.float32),
            scores.astype(np.float32),
            np.isfinite(matrix[:, 0, 0]),
        )

    def label_jpegs(self, frames: Iterable[bytes]) -> FaceLandmarks:
        """Label a clip's frames (`Clip.frames_jpeg`)."""
        return self.label(decode_jpeg(frame) for frame in frames)

    def _look(self, crop: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The matrix [4, 4] and the 52 scores of a crop; NaN where no face is found."""
        from mediapipe import Image, ImageFormat

        if crop.shape != (CROP_SIDE_PX, CROP_SIDE_PX, 3):
            raise ValueError(f"a crop is {list(crop.shape)}, need [{CROP_SIDE_PX}, {CROP_SIDE_PX}, 3]")
        canvas = np.zeros((CANVAS_SIDE_PX, CANVAS_SIDE_PX, 3), np.uint8)
        start = (CANVAS_SIDE_PX - CROP_SIDE_PX) // 2
        canvas[start : start + CROP_SIDE_PX, start : start + CROP_SIDE_PX] = crop
        found = self._landmarker.detect(Image(image_format=ImageFormat.SRGB, data=canvas))
        if not found.facial_transformation_matrixes or not found.face_blendshapes:
            return np.full((4, 4), np.nan), np.full(len(BLENDSHAPES), np.nan)
        scores = found.face_blendshapes[0]
        if (names := tuple(score.category_name for score in scores)) != BLENDSHAPES:
            raise ValueError(f"the model tells other blendshapes than {NAME} {VERSION} knows: {names[:4]} …")
        matrix = np.asarray(found.facial_transformation_matrixes[0], np.float64)
        return matrix, np.array([score.score for score in scores])

    def close(self) -> None:
        """Free the graph."""
        self._landmarker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def pose_from_matrix(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pose [6] in the crop camera of a transformation matrix of the canvas.

    Args:
        matrix: [4, 4] of MediaPipe's face coordinates into its camera's (x right, y up, z to the viewer; the
            face at z < 0), of a canvas that holds the crop in its middle.
    """
    rotation = matrix[:3, :3]
    x, y, z = rotation @ np.array(HEAD_ORIGIN_CM) + matrix[:3, 3]
    # The same point of the crop, and as many px per cm there, seen from the crop camera.
    depth_cm = CENTIMETRES_PER_UNIT * -z * CROP_FOCAL_PX / CAMERA_FOCAL_PX
    across_cm = np.array([x, y]) * CENTIMETRES_PER_UNIT
    return np.array([*angles_from_rotation(rotation), *across_cm, REFERENCE_DISTANCE_CM - depth_cm])


def _open_model(model: Path, settings: FaceLandmarkerSettings) -> Any:
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=model.read_bytes()),
        min_face_detection_confidence=settings.minimum_confidence,
        min_face_presence_confidence=settings.minimum_confidence,
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    try:
        return vision.FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        # Its first sentence: after it all files of the bundle are told.
        told = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        raise ValueError(f"{model} is no FaceLandmarker's task file ({told}); {WAY_OUT}") from error
