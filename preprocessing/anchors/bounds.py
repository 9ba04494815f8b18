"""The bounds of eye anchors in one table: reason, error, setting, unit."""

import math
from collections.abc import Mapping
from typing import Final

from preprocessing.clips.bounds import Bound

ANCHOR_BOUNDS: Final = (
    Bound(
        "rest_of_face_moved",
        "rest_error_px",
        "maximum_rest_error_px",
        "Rest of the face",
        "px",
        is_minimum=False,
    ),
    Bound("blink_differs", "blink_error", "maximum_blink_error", "Blink", "of 1", is_minimum=False),
    Bound(
        "gaze_differs",
        "gaze_error_rad",
        "maximum_gaze_error_rad",
        "Gaze",
        "degrees",
        is_minimum=False,
        scale=180.0 / math.pi,
    ),
)
"""In the order in which the first failed one is the reason."""
ANCHOR_BOUND_OF_REASON: Final[Mapping[str, Bound]] = {bound.reason: bound for bound in ANCHOR_BOUNDS}
