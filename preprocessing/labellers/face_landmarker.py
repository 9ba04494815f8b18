"""Backend `face_landmarker` of `pose_labels`: MediaPipe's FaceLandmarker (Tasks), head pose and blendshapes.

The model is a file (`face_landmarker` of `weights.catalog`, Apache-2.0) and sees every frame on its own. Its
transformation matrix assumes a camera with a vertical field of view of 63°, so a face that fills the picture
is taken for a very near one: on the demo corpus a bare crop gives 0.80 of the true yaw, a crop in the middle
of a black canvas three times as wide 0.88 (the default labeller 0.94; pitch 0.88, the default 0.77). On a
canvas of five and a half crops, which would match the crop camera, two faces in three are not detected. Hence
three crops.

The matrix's rotation is used unchanged. By geometry it should turn with the line of sight to the face; on
crops moved by 150 px on the canvas it follows 0.28 of that, less than 1° for a face in the middle of its
crop. On the demo corpus the pitch is 1.0° too low (the face seems to look up).

In frames without a detected face the pose is interpolated between the neighbouring frames; a clip without any
detected face is labelled by the mean face. Both are counted as `frames_bridged`.

Frame of reference, angles and signs: `preprocessing.faces.shape.frame_of_reference`.
"""

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from preprocessing.faces.shape.frame_of_reference import (
    CROP_FOCAL_PX,
    REFERENCE_DISTANCE_CM,
    angles_from_rotation,
)
from preprocessing.labellers.backend import Backend, ClipLabeller, WeightsRequest
from preprocessing.labellers.pose_mean_face import PoseLabels, label_pose, mean_face_residual_px
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import CROP_SIDE_PX, Clip
from storage.settings import Settings

FETCH_HINT: Final = "run `pdfgc weights fetch face_landmarker` for the published file"
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
"""In the model's order; left and right are the person's: left is the image's right."""

CANVAS_CROPS: Final = 3  # odd, so that the centred crop starts at a whole pixel
CANVAS_SIDE_PX: Final = CANVAS_CROPS * CROP_SIDE_PX
CAMERA_FIELD_OF_VIEW_DEGREES: Final = 63.0  # vertical, FaceGeometry's default
CAMERA_FOCAL_PX: Final = CANVAS_SIDE_PX / 2 / float(np.tan(np.radians(CAMERA_FIELD_OF_VIEW_DEGREES / 2)))
# Midpoint of the eyeballs in the matrix's coordinates, and our centimetres per unit of theirs: least squares
# against the ground truth of the demo corpus (repeated by `benchmarks.preprocessing.landmarker_agreement`).
HEAD_ORIGIN_CM: Final = (0.0, 2.98, 2.13)
CENTIMETRES_PER_UNIT: Final = 0.945


class FaceLandmarkerSettings(Settings):
    """What counts as a face."""

    minimum_confidence: float = Field(
        default=0.5, ge=0.0, le=1.0, description="Minimum score of MediaPipe's face detection"
    )


class FaceLandmarks(NamedTuple):
    """The model's output for T frames; NaN where no face was detected."""

    matrix: NDArray[np.float32]  # [T, 4, 4] face coordinates to the canvas camera's
    pose: NDArray[np.float32]  # [T, 6] pitch, yaw, roll rad; x, y, z cm
    blendshapes: NDArray[np.float32]  # [T, 52] 0 to 1, in the order of `BLENDSHAPES`
    found: NDArray[np.bool_]  # [T]


class FaceLandmarker:
    """A loaded model; imports mediapipe when constructed.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is not a FaceLandmarker task file.
    """

    def __init__(self, model: Path, settings: FaceLandmarkerSettings | None = None) -> None:
        if not model.is_file():
            raise FileNotFoundError(f"no model of {NAME} at {model}")
        if not zipfile.is_zipfile(model):  # MediaPipe's own error runs over pages
            raise ValueError(f"{model} is not a MediaPipe task file, or is cut short; {FETCH_HINT}")
        self._landmarker = _open_model(model, settings or FaceLandmarkerSettings())

    def label(self, crops: Iterable[NDArray[np.uint8]]) -> FaceLandmarks:
        """Label crops [224, 224, 3] RGB, each on its own.

        Raises:
            ValueError: a crop has another shape.
        """
        matrices: list[NDArray[np.float64]] = []
        blendshapes: list[NDArray[np.float64]] = []
        for crop in crops:
            matrix, scores = self._detect(crop)
            matrices.append(matrix)
            blendshapes.append(scores)
        matrix = np.array(matrices).reshape(-1, 4, 4)
        pose = np.array([pose_from_matrix(each) for each in matrix]).reshape(-1, 6)
        scores = np.array(blendshapes).reshape(-1, len(BLENDSHAPES))
        return FaceLandmarks(
            matrix.astype(np.float32),
            pose.astype(np.float32),
            scores.astype(np.float32),
            np.isfinite(matrix[:, 0, 0]),
        )

    def _detect(self, crop: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The matrix [4, 4] and the 52 scores of a crop; NaN where no face is detected."""
        from mediapipe import Image, ImageFormat

        if crop.shape != (CROP_SIDE_PX, CROP_SIDE_PX, 3):
            raise ValueError(f"a crop is {list(crop.shape)}, need [{CROP_SIDE_PX}, {CROP_SIDE_PX}, 3]")
        canvas = np.zeros((CANVAS_SIDE_PX, CANVAS_SIDE_PX, 3), np.uint8)
        start = (CANVAS_SIDE_PX - CROP_SIDE_PX) // 2
        canvas[start : start + CROP_SIDE_PX, start : start + CROP_SIDE_PX] = crop
        result = self._landmarker.detect(Image(image_format=ImageFormat.SRGB, data=canvas))
        if not result.facial_transformation_matrixes or not result.face_blendshapes:
            return np.full((4, 4), np.nan), np.full(len(BLENDSHAPES), np.nan)
        scores = result.face_blendshapes[0]
        if (names := tuple(score.category_name for score in scores)) != BLENDSHAPES:
            raise ValueError(f"the model has other blendshapes than {NAME} {VERSION} expects: {names[:4]} …")
        matrix = np.asarray(result.facial_transformation_matrixes[0], np.float64)
        return matrix, np.array([score.score for score in scores])

    def close(self) -> None:
        """Free MediaPipe's graph."""
        self._landmarker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def pose_from_matrix(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert a transformation matrix of the canvas to a pose [6] in the crop camera.

    Args:
        matrix: [4, 4] MediaPipe's face coordinates to its camera's (x right, y up, z to the viewer; the face
            at z < 0), of a canvas with the crop in its middle.
    """
    rotation = matrix[:3, :3]
    x, y, z = rotation @ np.array(HEAD_ORIGIN_CM) + matrix[:3, 3]
    # Keep the point's place in the crop and its px per cm, as seen from the crop camera.
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
        # Only the first sentence: the rest lists the bundle's files.
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        raise ValueError(f"{model} is not a FaceLandmarker task file ({reason}); {FETCH_HINT}") from error


class DecodedClip(NamedTuple):
    """A clip's landmarks and decoded pictures."""

    landmarks_px: NDArray[np.float32]  # [T, 478, 3] of the crop
    pictures: Sequence[NDArray[np.uint8]]  # T of [224, 224, 3] RGB


class FaceLandmarkerPose(ClipLabeller[Clip, DecodedClip, PoseLabels]):
    """Labels clips by a model, which it closes."""

    def __init__(self, landmarker: FaceLandmarker) -> None:
        self._landmarker = landmarker

    @override
    def prepare(self, item: Clip) -> DecodedClip:
        """Decode a clip's pictures."""
        return DecodedClip(item.landmarks_px, [decode_jpeg(jpeg) for jpeg in item.frames_jpeg])

    @override
    def label(self, prepared: DecodedClip) -> PoseLabels:
        """Label a clip."""
        faces = self._landmarker.label(prepared.pictures)
        if faces.found.any():
            pose = bridge_pose(faces.pose, faces.found)
        else:
            pose = label_pose(prepared.landmarks_px).pose
        return PoseLabels(
            pose,
            mean_face_residual_px(pose, prepared.landmarks_px),
            blendshapes=faces.blendshapes,
            frames_bridged=int((~faces.found).sum()),
        )

    @override
    def close(self) -> None:
        """Free MediaPipe's graph."""
        self._landmarker.close()


def open_labeller(model: Path, settings: FaceLandmarkerSettings) -> FaceLandmarkerPose:
    """Load a task file. Raises as `FaceLandmarker`."""
    return FaceLandmarkerPose(FaceLandmarker(model, settings))


def bridge_pose(pose: NDArray[np.float32], found: NDArray[np.bool_]) -> NDArray[np.float32]:
    """[T, 6] with linear interpolation over frames that were not found, constant at the ends.

    Angles do not wrap: a detected face looks into the picture.
    """
    frames = np.arange(len(pose))
    columns = [np.interp(frames, frames[found], column[found]) for column in pose.T]
    return np.stack(columns, axis=1).astype(np.float32)


BACKEND: Final = Backend(
    name=NAME,
    version=VERSION,
    factory=open_labeller,
    settings=("face_landmarker",),
    weights=WeightsRequest("face_landmarker", "face_landmarker_weights"),
)
