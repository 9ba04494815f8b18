"""How nearly a video follows its drivers: errors of pose, gaze and blink, and correlations.

Errors are means over the frames where both video and driver were read. The pose's stand also once with the
mean error taken out: between two persons the labeller's zero differs by a few degrees, and so does the crop.
Pose is told in each video's own crop camera, gaze in head coordinates.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.controls import Control
from evaluation.metrics.control.series import MINIMUM_FRAMES, STILL_BELOW, both_read, compare_series
from evaluation.metrics.measured_video import Figure, MeasuredVideo
from evaluation.readings.face import MEASURES, SCORER, FaceReadings
from evaluation.readings.protocol import Readings
from evaluation.records import MetricRecord
from preprocessing.faces.frame_of_reference import direction_from_gaze

FACE_FOUND: Final = "face_found_share"
GAZE_ERROR: Final = "gaze_error"
BLINK_ERROR: Final = "blink_error"
POSE_ANGLES: Final = ("pitch", "yaw", "roll")


def pose_error_name(angle: str, *, mean_removed: bool = False) -> str:
    """Metric of a pose angle's mean absolute error."""
    return f"{angle}_error_mean_removed" if mean_removed else f"{angle}_error"


def correlation_name(measure: str) -> str:
    """Metric of a measure's correlation with the driver of its own control."""
    return f"{measure}_correlation"


def following_rows(
    output: FaceReadings,
    drivers: Mapping[Control, FaceReadings],
    *,
    task: str,
    method: str,
    video: str,
    scorer: str = SCORER,
) -> list[MetricRecord]:
    """Figures of one video against its drivers.

    Args:
        output: the video's readings.
        drivers: by control; where a control has none, its rows say so.
        task: of the rows.
        method: of the rows.
        video: of the rows.
        scorer: of the rows.

    Returns:
        `face_found_share` (0 to 1); `{pitch,yaw,roll}_error` and `..._error_mean_removed` (degrees, mean
        absolute); `gaze_error` (degrees, mean angle between the lines of sight); `blink_error` (mean absolute
        over both eyes, 0 to 1); `{measure}_correlation` for each of `MEASURES` with its own control's driver.
        Frame t of the video is held against frame t of the driver; what either has beyond the other's end is
        left out.
    """
    shown = MeasuredVideo(task, method, scorer, video)
    rows = [found_row(output, shown)]
    for angle in POSE_ANGLES:
        plain, centred = _pose_errors(output, drivers.get("pose"), angle)
        rows.append(shown.figure(pose_error_name(angle), plain, "degrees", "lower"))
        rows.append(shown.figure(pose_error_name(angle, mean_removed=True), centred, "degrees", "lower"))
    rows.append(shown.figure(GAZE_ERROR, _gaze_error(output, drivers.get("eye")), "degrees", "lower"))
    rows.append(shown.figure(BLINK_ERROR, _blink_error(output, drivers.get("eye")), "", "lower"))
    for measure, control in MEASURES.items():
        followed = correlation_figure(output, drivers.get(control), measure)
        rows.append(shown.figure(correlation_name(measure), followed, "", "higher"))
    return rows


def found_row(output: Readings, shown: MeasuredVideo) -> MetricRecord:
    """In which share of its frames a face was found."""
    share = Figure(float(output.found.mean())) if len(output) else Figure(None, "no frame")
    return shown.figure(FACE_FOUND, share, "", "higher")


def _pose_errors(output: FaceReadings, driver: FaceReadings | None, angle: str) -> tuple[Figure, Figure]:
    if driver is None:
        missing = Figure(None, "no pose driver")
        return missing, missing
    made, true = both_read(output.measure(angle), driver.measure(angle))
    error = made - true
    centred = error - error.mean() if len(error) else error
    return mean_figure(np.abs(error)), mean_figure(np.abs(centred))


def _gaze_error(output: FaceReadings, driver: FaceReadings | None) -> Figure:
    if driver is None:
        return Figure(None, "no eye driver")
    frames = min(len(output), len(driver))
    made, true = (direction_from_gaze(read.gaze_rad[:frames]) for read in (output, driver))
    cosine = (made * true).sum(axis=1)
    cosine = cosine[np.isfinite(cosine)]
    return mean_figure(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _blink_error(output: FaceReadings, driver: FaceReadings | None) -> Figure:
    if driver is None:
        return Figure(None, "no eye driver")
    frames = min(len(output), len(driver))
    error = np.abs(output.blink[:frames].astype(np.float64) - driver.blink[:frames]).mean(axis=1)
    return mean_figure(error[np.isfinite(error)])


def correlation_figure(output: Readings, driver: Readings | None, measure: str) -> Figure:
    """How far a measure went with the driver's; missing where there is none, or either stood still."""
    if driver is None:
        return Figure(None, f"no {output.measures[measure]} driver")
    agreement = compare_series(output.measure(measure), driver.measure(measure), STILL_BELOW[measure])
    return Figure(agreement.correlation, agreement.missing_because)


def mean_figure(errors: NDArray[np.float64]) -> Figure:
    """The mean of the errors of frames; missing under `MINIMUM_FRAMES` of them."""
    if len(errors) < MINIMUM_FRAMES:
        return Figure(None, f"read in {len(errors)} frames of both, need {MINIMUM_FRAMES}")
    return Figure(float(errors.mean()))
