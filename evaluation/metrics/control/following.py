"""How well a video follows its drivers: errors and correlations of what a reader measured in both.

Frame t of the video is compared with frame t of the driver; what one has beyond the other's end is ignored.
Errors are means over the frames in which both were read. Pose and blendshape errors are also given with their
mean removed: the zero of the pose labeller differs by a few degrees between two people, as do their crops,
and two faces at rest differ by a few tenths of a blendshape. Pose is in each video's own crop camera, gaze in
head coordinates.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic

import numpy as np
from numpy.typing import NDArray

from evaluation.controls import Control
from evaluation.metrics.control.series import MINIMUM_FRAMES, STILL_BELOW, both_read, compare_series
from evaluation.metrics.metric import Measurement, Metric, MetricWeights
from evaluation.readings.blendshapes import BLENDSHAPE_MEASURES
from evaluation.readings.face import MEASURES, FaceReadings
from evaluation.readings.measures import ALL_MEASURES, AnyReadings, Readings
from preprocessing.faces.shape.frame_of_reference import direction_from_gaze

PROTOCOL: Final = "frame t against frame t of the driver"
POSE_ANGLES: Final = ("pitch", "yaw", "roll")
FACE_LANDMARKER: Final = MetricWeights("face_landmarker", "face_landmarker_weights")


@dataclass(frozen=True)
class ControlReference(Generic[AnyReadings]):
    """What a video is compared with.

    Attributes:
        drivers: Readings of the clip that drives each control; controls may be missing.
        truth: Readings of the true video; None if there is none.
    """

    drivers: Mapping[Control, AnyReadings] = field(repr=False)
    truth: AnyReadings | None = field(default=None, repr=False)


AnyReference = ControlReference[Any]


def measure_found_share(output: Readings, _: AnyReference) -> Measurement:
    """Share of the video's frames in which a face was found, 0 to 1."""
    return Measurement(float(output.found.mean())) if len(output) else Measurement(None, "no frame")


def measure_error(
    measure: str, output: Readings, reference: AnyReference, *, mean_removed: bool = False
) -> Measurement:
    """Mean absolute difference of a measure to the driver of its control, in the measure's unit."""
    control = ALL_MEASURES[measure]
    if control not in reference.drivers:
        return _no_driver(control)
    values, driver = both_read(output.measure(measure), reference.drivers[control].measure(measure))
    error = values - driver
    if mean_removed and len(error):
        error = error - error.mean()
    return _mean(np.abs(error))


def measure_gaze_error(output: FaceReadings, reference: AnyReference) -> Measurement:
    """Mean angle in degrees between the lines of sight of the video and of the eye driver."""
    if "eye" not in reference.drivers:
        return _no_driver("eye")
    driver: FaceReadings = reference.drivers["eye"]
    frames = min(len(output), len(driver))
    a, b = (direction_from_gaze(readings.gaze_rad[:frames]) for readings in (output, driver))
    cosine = (a * b).sum(axis=1)
    cosine = cosine[np.isfinite(cosine)]
    return _mean(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def measure_blink_error(output: FaceReadings, reference: AnyReference) -> Measurement:
    """Mean absolute difference of the blinks of both eyes to the eye driver's, 0 to 1."""
    if "eye" not in reference.drivers:
        return _no_driver("eye")
    driver: FaceReadings = reference.drivers["eye"]
    frames = min(len(output), len(driver))
    error = np.abs(output.blink[:frames].astype(np.float64) - driver.blink[:frames]).mean(axis=1)
    return _mean(error[np.isfinite(error)])


def measure_correlation(measure: str, output: Readings, reference: AnyReference) -> Measurement:
    """Pearson's correlation of a measure with the driver of its control, -1 to 1.

    Missing if there is no such driver, or if either series does not move.
    """
    control = ALL_MEASURES[measure]
    if control not in reference.drivers:
        return _no_driver(control)
    driver: Readings = reference.drivers[control]
    agreement = compare_series(output.measure(measure), driver.measure(measure), STILL_BELOW[measure])
    return Measurement(agreement.correlation, agreement.missing_because)


def measure_gain(measure: str, output: Readings, reference: AnyReference) -> Measurement:
    """Slope of a measure over the driver's, 1 if it moved as much; missing like the correlation."""
    control = ALL_MEASURES[measure]
    if control not in reference.drivers:
        return _no_driver(control)
    driver: Readings = reference.drivers[control]
    agreement = compare_series(output.measure(measure), driver.measure(measure), STILL_BELOW[measure])
    return Measurement(agreement.gain, agreement.missing_because)


def _no_driver(control: Control) -> Measurement:
    return Measurement(None, f"no {control} driver")


def _mean(errors: NDArray[np.float64]) -> Measurement:
    if len(errors) < MINIMUM_FRAMES:
        return Measurement(None, f"read in {len(errors)} frames of both, need {MINIMUM_FRAMES}")
    return Measurement(float(errors.mean()))


def _error_metrics(measure: str, unit: str, weights: MetricWeights | None) -> list[Metric[Any, AnyReference]]:
    plain, centred = partial(measure_error, measure), partial(measure_error, measure, mean_removed=True)
    return [
        Metric(f"{measure}_error", PROTOCOL, unit, "lower", plain, weights=weights),
        Metric(f"{measure}_error_mean_removed", PROTOCOL, unit, "lower", centred, weights=weights),
    ]


def _agreement_metrics(measure: str, weights: MetricWeights | None = None) -> list[Metric[Any, AnyReference]]:
    correlation: Callable[[Any, AnyReference], Measurement] = partial(measure_correlation, measure)
    gain: Callable[[Any, AnyReference], Measurement] = partial(measure_gain, measure)
    return [
        Metric(f"{measure}_correlation", PROTOCOL, "", "higher", correlation, weights=weights),
        Metric(f"{measure}_gain", PROTOCOL, "", "neither", gain, weights=weights),
    ]


def _found_share_metric(weights: MetricWeights | None = None) -> Metric[Any, AnyReference]:
    return Metric("face_found_share", PROTOCOL, "", "higher", measure_found_share, weights=weights)


FOLLOWING_METRICS: Final[tuple[Metric[Any, AnyReference], ...]] = (
    _found_share_metric(),
    *(metric for angle in POSE_ANGLES for metric in _error_metrics(angle, "degrees", None)),
    Metric("gaze_error", PROTOCOL, "degrees", "lower", measure_gaze_error),
    Metric("blink_error", PROTOCOL, "", "lower", measure_blink_error),
    *(metric for measure in MEASURES for metric in _agreement_metrics(measure)),
)
"""Of `FaceReadings`."""
BLENDSHAPE_METRICS: Final[tuple[Metric[Any, AnyReference], ...]] = (
    _found_share_metric(FACE_LANDMARKER),
    *(
        metric
        for measure in BLENDSHAPE_MEASURES
        for metric in (
            *_error_metrics(measure, "", FACE_LANDMARKER),
            *_agreement_metrics(measure, FACE_LANDMARKER),
        )
    ),
)
"""Of `BlendshapeReadings`."""
