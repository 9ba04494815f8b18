"""M-LMD and F-LMD: how far a video's landmarks lie from the true video's, in pixels of the 224 px crop.

Both take MediaPipe's contours, image points only, frame t against frame t, and average the distance over
points and over the frames where both faces were found:

* `m_lmd_mouth_centred`: the 40 points of the inner and outer lips, each frame's mouth moved so that its mean
  lies in the origin, as is usual for the measure: the lips' shape and turn count, not where the mouth is.
* `f_lmd_as_placed`: the 138 points of outline, brows, eyes, nose and lips, where they lie: pose and place
  count. Both videos are crops of the same alignment.

The literature's figures are on 68 points of another detector, at 224 or 256 px, some divided by the face's
size: they compare with ours roughly at best.
"""

from typing import Final

import numpy as np

from evaluation.metrics.control.series import MINIMUM_FRAMES
from evaluation.metrics.measured_video import Figure, MeasuredVideo
from evaluation.readings.face import SCORER, FaceReadings
from evaluation.records import MetricRecord
from preprocessing.faces.landmark_groups import (
    FACE_OVAL,
    IMAGE_LEFT_EYE,
    IMAGE_LEFT_EYEBROW,
    IMAGE_RIGHT_EYE,
    IMAGE_RIGHT_EYEBROW,
    LIPS_INNER,
    LIPS_OUTER,
)

M_LMD: Final = "m_lmd_mouth_centred"
F_LMD: Final = "f_lmd_as_placed"
MOUTH_POINTS: Final = LIPS_OUTER + LIPS_INNER
NOSE_POINTS: Final = (
    168,
    6,
    197,
    195,
    5,
    4,
    1,
    2,
    98,
    327,
)  # ridge from the root down, base, nostrils' sides
FACE_POINTS: Final = (
    FACE_OVAL
    + IMAGE_LEFT_EYEBROW
    + IMAGE_RIGHT_EYEBROW
    + IMAGE_LEFT_EYE
    + IMAGE_RIGHT_EYE
    + NOSE_POINTS
    + MOUTH_POINTS
)


def landmark_distance_rows(
    output: FaceReadings, truth: FaceReadings, *, task: str, method: str, video: str, scorer: str = SCORER
) -> list[MetricRecord]:
    """M-LMD and F-LMD of one video, in pixels; less is better.

    Args:
        output: the video's readings.
        truth: the true video's; what either has beyond the other's end is left out.
        task: of the rows.
        method: of the rows.
        video: of the rows.
        scorer: of the rows.
    """
    shown = MeasuredVideo(task, method, scorer, video)
    mouth = _distance(output, truth, MOUTH_POINTS, centred=True)
    face = _distance(output, truth, FACE_POINTS, centred=False)
    return [shown.figure(M_LMD, mouth, "px", "lower"), shown.figure(F_LMD, face, "px", "lower")]


def _distance(output: FaceReadings, truth: FaceReadings, points: tuple[int, ...], *, centred: bool) -> Figure:
    frames = min(len(output), len(truth))
    both = np.logical_and.reduce(
        [np.isfinite(readings.landmarks_px[:frames]).all(axis=(1, 2)) for readings in (output, truth)]
    )
    if int(both.sum()) < MINIMUM_FRAMES:
        return Figure(None, f"read in {int(both.sum())} frames of both, need {MINIMUM_FRAMES}")
    made, true = (
        readings.landmarks_px[:frames][both][:, points, :2].astype(np.float64) for readings in (output, truth)
    )
    if centred:
        made, true = (each - each.mean(axis=1, keepdims=True) for each in (made, true))
    return Figure(float(np.linalg.norm(made - true, axis=-1).mean()))
