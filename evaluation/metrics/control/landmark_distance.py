"""M-LMD and F-LMD: distance of a video's landmarks from the true video's, in pixels of the 224 px crop.

Both take the image points of MediaPipe's contours, frame t against frame t, and average the distance over
points and over the frames in which both faces were found:

* `m_lmd_mouth_centred`: the 40 points of the inner and outer lips, after the mean of each frame's mouth was
  moved to the origin, as is usual for the measure: shape and tilt of the lips count, their position does not.
* `f_lmd_as_placed`: the 138 points of outline, brows, eyes, nose and lips as they are: pose and position
  count. Both videos are crops of the same alignment.

The literature uses 68 points of another detector, at 224 or 256 px, sometimes divided by the size of the
face: its values compare with ours only roughly.
"""

from functools import partial
from typing import Any, Final

import numpy as np

from evaluation.metrics.control.following import ControlReference
from evaluation.metrics.control.series import MINIMUM_FRAMES
from evaluation.metrics.metric import Measurement, Metric
from evaluation.readings.face import FaceReadings
from preprocessing.faces.shape.landmark_groups import (
    FACE_OVAL,
    IMAGE_LEFT_EYE,
    IMAGE_LEFT_EYEBROW,
    IMAGE_RIGHT_EYE,
    IMAGE_RIGHT_EYEBROW,
    LIPS_INNER,
    LIPS_OUTER,
)

MOUTH_POINTS: Final = LIPS_OUTER + LIPS_INNER
# Ridge from the root down, base, sides of the nostrils.
NOSE_POINTS: Final = (168, 6, 197, 195, 5, 4, 1, 2, 98, 327)
FACE_POINTS: Final = (
    FACE_OVAL
    + IMAGE_LEFT_EYEBROW
    + IMAGE_RIGHT_EYEBROW
    + IMAGE_LEFT_EYE
    + IMAGE_RIGHT_EYE
    + NOSE_POINTS
    + MOUTH_POINTS
)


def measure_distance(
    points: tuple[int, ...], output: FaceReadings, reference: ControlReference[FaceReadings], *, centred: bool
) -> Measurement:
    """Mean distance of landmarks from the true video's, in px.

    Args:
        points: Which of the 478 landmarks.
        output: Readings of the video.
        reference: With a true video; what either has beyond the other's end is ignored.
        centred: Move the mean of each frame's points to the origin first.
    """
    truth = reference.truth
    assert truth is not None  # the metric's tasks have one
    frames = min(len(output), len(truth))
    both = np.logical_and.reduce(
        [np.isfinite(readings.landmarks_px[:frames]).all(axis=(1, 2)) for readings in (output, truth)]
    )
    if int(both.sum()) < MINIMUM_FRAMES:
        return Measurement(None, f"read in {int(both.sum())} frames of both, need {MINIMUM_FRAMES}")
    a, b = (
        readings.landmarks_px[:frames][both][:, points, :2].astype(np.float64) for readings in (output, truth)
    )
    if centred:
        a, b = (placed - placed.mean(axis=1, keepdims=True) for placed in (a, b))
    return Measurement(float(np.linalg.norm(a - b, axis=-1).mean()))


M_LMD: Final[Metric[FaceReadings, Any]] = Metric(
    "m_lmd_mouth_centred",
    protocol="40 points of the lips, mean of each frame removed",
    unit="px",
    direction="lower",
    measure=partial(measure_distance, MOUTH_POINTS, centred=True),
    tasks=("self",),
)
F_LMD: Final[Metric[FaceReadings, Any]] = Metric(
    "f_lmd_as_placed",
    protocol="138 points of the face",
    unit="px",
    direction="lower",
    measure=partial(measure_distance, FACE_POINTS, centred=False),
    tasks=("self",),
)
