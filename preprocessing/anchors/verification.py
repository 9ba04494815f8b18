"""Measures on a composite, as the labels were measured, whether it has v1's eyes in v2's face.

LiteRT is imported when a verifier first looks for a face.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.iris_refinement import refine_irises
from preprocessing.faces.shape.landmark_groups import EYE_REGION_POINTS
from preprocessing.faces.tflite.mesh import FaceFollower
from preprocessing.labellers import blink_lids, gaze_iris
from preprocessing.labellers.blink_lids import OpennessLevels
from preprocessing.schema import LANDMARK_COUNT

REST_POINTS: Final = np.setdiff1d(np.arange(LANDMARK_COUNT), EYE_REGION_POINTS)


@dataclass(frozen=True)
class BaseFace:
    """v2's face: the target of the rest of the composite."""

    landmarks_px: NDArray[np.float32]  # [478, 3]
    pose: NDArray[np.float32]  # [6] pitch, yaw, roll rad; x, y, z cm


@dataclass(frozen=True)
class EyeTarget:
    """Labels of v1's frame: the target of the composite's eyes."""

    gaze: NDArray[np.float32]  # [2] pitch, yaw rad in head coordinates
    blink: NDArray[np.float32]  # [2] image-left eye, image-right eye
    levels: OpennessLevels  # v1's person's


@dataclass(frozen=True)
class Measured:
    """Errors of a composite."""

    gaze_error_rad: float  # angle between its gaze and v1's; 0 where the eyes of both are shut
    blink_error: float  # difference of its blink from v1's, the larger of both eyes
    rest_error_px: float  # mean landmark distance from v2, without the eyes


class AnchorVerifier:
    """Tracks the face from v2's own picture to its composites, as v2's labels were made by tracking.

    The window of a face detected in each picture differs from that of a tracked one: on unchanged frames that
    doubles the landmarks' distance from the labels' (median 1.4 px instead of 0.7 px) and takes twice the
    time.
    """

    def __init__(self) -> None:
        self._mesh = FaceFollower()

    def start_clip(self, frame: NDArray[np.uint8]) -> None:
        """Detect v2's face, so that results do not depend on the clips before."""
        self._mesh.forget()
        self._mesh.find(frame)

    def measure(self, composite: NDArray[np.uint8], base: BaseFace, target: EyeTarget) -> Measured | None:
        """Compare a composite [S, S, 3] RGB with v2's face and v1's labels; None if no face is detected."""
        landmarks_px = self._mesh.find(composite)
        if landmarks_px is None:
            return None
        return compare(refine_irises(composite, landmarks_px), base, target)


def compare(landmarks_px: NDArray[np.float32], base: BaseFace, target: EyeTarget) -> Measured:
    """Compare a composite's landmarks [478, 3] with v2's face and v1's labels.

    The head is v2's, so gaze is measured in v2's labelled pose; a pose fitted to the composite is no better.
    """
    blink = blink_lids.label_blink(landmarks_px[None], target.levels)
    gaze = gaze_iris.label_gaze(landmarks_px[None], base.pose[None], blink).gaze
    both_shut = min(float(target.blink.min()), float(blink.min())) >= gaze_iris.GazeSettings().shut_blink
    moved = landmarks_px[REST_POINTS, :2] - base.landmarks_px[REST_POINTS, :2]
    return Measured(
        gaze_error_rad=0.0 if both_shut else float(np.linalg.norm(gaze[0] - target.gaze)),
        blink_error=float(np.abs(blink[0] - target.blink).max()),
        rest_error_px=float(np.linalg.norm(moved, axis=1).mean()),
    )
