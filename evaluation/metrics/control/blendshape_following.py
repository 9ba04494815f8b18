"""How nearly a video's expression follows its drivers by the FaceLandmarker's blendshapes.

Errors are mean absolute differences over the frames where both video and driver were read, of 0 to 1; they
stand also with the mean error taken out, for two persons' faces at rest differ by a few tenths (a smile is
read off the mouth's form).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from evaluation.controls import Control
from evaluation.metrics.control.following_error import (
    correlation_figure,
    correlation_name,
    found_row,
    mean_figure,
)
from evaluation.metrics.control.series import both_read
from evaluation.metrics.measured_video import Figure, MeasuredVideo
from evaluation.readings.blendshapes import BLENDSHAPE_MEASURES, BlendshapeReadings
from evaluation.records import MODEL, MetricRecord
from preprocessing.labellers.face_landmarker import NAME

MISSING: Final = (
    "no FaceLandmarker weights: pdfgc weights fetch face_landmarker, and give face_landmarker as the "
    "FaceLandmarker weights (--face-landmarker-weights)"
)
ALL_VIDEOS: Final = "all videos"


def blendshape_rows(
    output: BlendshapeReadings,
    drivers: Mapping[Control, BlendshapeReadings],
    *,
    task: str,
    method: str,
    video: str,
    scorer: str,
) -> list[MetricRecord]:
    """Figures of one video against its drivers.

    Args:
        output: the video's readings.
        drivers: by control; where a control has none, its rows say so.
        task: of the rows.
        method: of the rows.
        video: of the rows.
        scorer: of the rows, `blendshape_readings.scorer_name`.

    Returns:
        `face_found_share` (0 to 1), and of each of `BLENDSHAPE_MEASURES` with its own control's driver
        `{measure}_error` and `..._error_mean_removed` (mean absolute, 0 to 1) and `{measure}_correlation`.
    """
    shown = MeasuredVideo(task, method, scorer, video)
    rows = [found_row(output, shown)]
    for measure, control in BLENDSHAPE_MEASURES.items():
        plain, centred = _errors(output, drivers.get(control), measure)
        followed = correlation_figure(output, drivers.get(control), measure)
        rows.append(shown.figure(f"{measure}_error", plain, "", "lower"))
        rows.append(shown.figure(f"{measure}_error_mean_removed", centred, "", "lower"))
        rows.append(shown.figure(correlation_name(measure), followed, "", "higher"))
    return rows


def missing_rows() -> list[MetricRecord]:
    """What stands in the tables where the FaceLandmarker's weights are not given."""
    shown = MeasuredVideo("self", MODEL, NAME, ALL_VIDEOS)
    because = Figure(None, MISSING)
    return [shown.figure(correlation_name(measure), because, "", "higher") for measure in BLENDSHAPE_MEASURES]


def _errors(
    output: BlendshapeReadings, driver: BlendshapeReadings | None, measure: str
) -> tuple[Figure, Figure]:
    if driver is None:
        missing = Figure(None, f"no {BLENDSHAPE_MEASURES[measure]} driver")
        return missing, missing
    made, true = both_read(output.measure(measure), driver.measure(measure))
    error = made - true
    centred = error - error.mean() if len(error) else error
    return mean_figure(np.abs(error)), mean_figure(np.abs(centred))
