"""ArcFace's alignment: five points of a face fitted to a template of 112 px by a similarity.

The points are MediaPipe's (iris centres, nose tip, mouth corners), not RetinaFace's: cosines are comparable
with each other, and only roughly with published ones.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.faces.shape.geometry import fit_similarity
from preprocessing.faces.shape.landmark_groups import (
    IMAGE_LEFT_IRIS,
    IMAGE_RIGHT_IRIS,
    MOUTH_CORNERS,
    NOSE_TIP,
)
from preprocessing.schema import CROP_SIDE_PX

FACE_SIDE_PX: Final = 112
FIVE_POINTS: Final = (IMAGE_LEFT_IRIS[0], IMAGE_RIGHT_IRIS[0], NOSE_TIP, *MOUTH_CORNERS)
TEMPLATE_PX: Final = (
    (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041),
)  # fmt: skip
"""The same points in a face of 112 px: insightface's `arcface_dst`."""


def aligned_face(picture: NDArray[np.uint8], landmarks_px: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Align a face: [S, S, 3] -> [112, 112, 3], black beyond the picture.

    Args:
        picture: of any size S.
        landmarks_px: [478, 2 or 3], px of the picture resized to 224.
    """
    side_px = picture.shape[0]
    # Coordinates are of pixel centres: 0 is half a pixel inside the edge.
    points = (landmarks_px[list(FIVE_POINTS), :2].astype(np.float64) + 0.5) * (side_px / CROP_SIDE_PX) - 0.5
    transform = fit_similarity(points, np.asarray(TEMPLATE_PX)).matrix
    return np.asarray(cv2.warpAffine(picture, transform, (FACE_SIDE_PX, FACE_SIDE_PX)), np.uint8)
