"""Agreement of one measure of two videos, over the frames in which both were read."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MINIMUM_FRAMES: Final = 16
"""Over fewer frames two unrelated slow curves correlate by chance at .5 and more."""

STILL_BELOW: Final[Mapping[str, float]] = MappingProxyType(
    {
        "mouth_opening": 0.005,
        "pitch": 0.3,
        "yaw": 0.3,
        "roll": 0.15,
        "gaze_pitch": 0.5,
        "gaze_yaw": 1.0,
        "blink": 0.03,
        "brow_raise": 0.01,
        "smile": 0.02,
        "blendshape_jaw_open": 0.01,
        "blendshape_smile": 0.04,
        "blendshape_brow_raise": 0.03,
        "blendshape_brow_down": 0.015,
    }
)
"""Standard deviation, in the measure's unit, up to which a series counts as not moving.

About the largest that the mesh gave for 40 repeats of one picture (twelve people of the demo corpus): its
tracker never settles completely, and a frozen video would get a correlation of noise. Blendshapes are read
frame by frame and do settle: theirs is about the largest under noise of two grey levels.
"""


@dataclass(frozen=True)
class Agreement:
    """Agreement of a video's series with the driver's.

    Attributes:
        correlation: Pearson's, -1 to 1; None if `missing_because` is set.
        gain: Slope of the video's over the driver's, 1 if it moved as much; None like the correlation.
        frames: Number of frames compared.
        missing_because: Empty if there is a correlation.
        still: The driver moved and the video did not.
    """

    correlation: float | None
    gain: float | None
    frames: int
    missing_because: str = ""
    still: bool = False

    @property
    def followed(self) -> float | None:
        """The correlation for a score: 0 if the video did not move while the driver did.

        Leaving it out would favour a model that ignores a driver.
        """
        return 0.0 if self.still else self.correlation


def both_read(output: Array, driver: Array) -> tuple[Array, Array]:
    """The common frames in which neither is NaN; [N] each."""
    frames = min(len(output), len(driver))
    output, driver = output[:frames], driver[:frames]
    present = np.isfinite(output) & np.isfinite(driver)
    return output[present], driver[present]


def compare_series(output: Array, driver: Array, still_below: float) -> Agreement:
    """Correlation and gain of two series, frame by frame.

    Args:
        output: [T] measure of the video, NaN in frames where it was not read.
        driver: [T'] of the driver; what either has beyond the other's end is ignored.
        still_below: Standard deviation up to which a series counts as constant, see `STILL_BELOW`.
    """
    output, driver = both_read(output, driver)
    frames = len(output)
    if frames < MINIMUM_FRAMES:
        return Agreement(None, None, frames, f"read in {frames} frames of both, need {MINIMUM_FRAMES}")
    if float(driver.std()) <= still_below:
        return Agreement(None, None, frames, "the driver's does not move")
    if float(output.std()) <= still_below:
        return Agreement(None, None, frames, "the video's does not move", still=True)
    output, driver = output - output.mean(), driver - driver.mean()
    shared = float(output @ driver)
    power = float(driver @ driver)
    correlation = shared / float(np.sqrt(power * (output @ output)))
    return Agreement(float(np.clip(correlation, -1.0, 1.0)), shared / power, frames)
