"""Shot boundaries, frame by frame."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.media.source_picture import Picture, nearest_samples
from storage.settings import Settings

DETECTION_SIDE_PX: Final = 32  # shorter side; the detector compares colours, not details


class ShotSettings(Settings):
    """Settings of the shot cut detector."""

    threshold: float = Field(
        default=27.0,
        ge=1.0,
        le=255.0,
        description="Mean HSV difference between two frames that starts a new shot; PySceneDetect's default",
    )


class ShotDetector:
    """PySceneDetect's content detector, whose score is computed here: half its cost, without its time codes.

    A picture of another size begins a shot: a phone that was turned while recording, or another camera.
    """

    def __init__(self, settings: ShotSettings) -> None:
        self._settings = settings
        self._size: tuple[int, int] | None = None  # height, width of the last picture
        self._last: NDArray[np.uint8] | None = None  # it, in HSV

    def begins_shot(self, picture: Picture) -> bool:
        """Whether the next frame [H, W, 3] RGB starts a new shot."""
        height, width = picture.shape[:2]
        is_resized = self._size is not None and self._size != (height, width)
        self._size = (height, width)
        scale = min(1.0, DETECTION_SIDE_PX / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.cvtColor(nearest_samples(picture, *size), cv2.COLOR_RGB2HSV)
        before, self._last = self._last, np.asarray(small, np.uint8)
        if before is None or is_resized:  # pictures of one size are compared
            return is_resized
        return cv2.norm(before, self._last, cv2.NORM_L1) / small.size >= self._settings.threshold
