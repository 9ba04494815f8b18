"""How far one measure of a video went with another video's, over the frames where both were read."""

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
"""Standard deviation below which a measure does not move, in the measure's unit.

About the most that the mesh made of 40 repeats of one picture (twelve persons of the demo corpus); its
tracker never quite rests. Without it a frozen video would get a correlation: of noise. Blendshapes, each
frame's by itself, do rest: theirs is about the most that noise of two levels in the picture made of them.
"""


@dataclass(frozen=True)
class Agreement:
    """How a made series went with the driver's.

    Attributes:
        correlation: Pearson's, -1 to 1; None where `missing_because` says why.
        gain: slope of the made over the driver's, 1 where it moved as much; None like the correlation.
        frames: over how many frames.
        missing_because: empty where there is a correlation.
        still: the driver moved and the made series did not.
    """

    correlation: float | None
    gain: float | None
    frames: int
    missing_because: str = ""
    still: bool = False

    @property
    def followed(self) -> float | None:
        """The correlation for a summary: 0 where the made series stood still while the driver's moved.

        What stands still follows nothing; leaving it out would spare a model that ignores a driver.
        """
        return 0.0 if self.still else self.correlation


def both_read(made: Array, driver: Array) -> tuple[Array, Array]:
    """The frames that both have, without those where either was not read (NaN); [N] each."""
    frames = min(len(made), len(driver))
    made, driver = made[:frames], driver[:frames]
    there = np.isfinite(made) & np.isfinite(driver)
    return made[there], driver[there]


def compare_series(made: Array, driver: Array, still_below: float) -> Agreement:
    """Compare two series frame by frame.

    Args:
        made: [T] measure of the made video, NaN where it was not read.
        driver: [T'] the same of the driver; what either has beyond the other's end is left out.
        still_below: standard deviation below which a series counts as constant, `STILL_BELOW`'s.
    """
    made, driver = both_read(made, driver)
    frames = len(made)
    if frames < MINIMUM_FRAMES:
        return Agreement(None, None, frames, f"read in {frames} frames of both, need {MINIMUM_FRAMES}")
    if float(driver.std()) <= still_below:
        return Agreement(None, None, frames, "the driver's does not move")
    if float(made.std()) <= still_below:
        return Agreement(None, None, frames, "the video's does not move", still=True)
    made, driver = made - made.mean(), driver - driver.mean()
    shared = float(made @ driver)
    power = float(driver @ driver)
    correlation = shared / float(np.sqrt(power * (made @ made)))
    return Agreement(float(np.clip(correlation, -1.0, 1.0)), shared / power, frames)
