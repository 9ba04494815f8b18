"""Shot boundaries, frame by frame."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scenedetect import FrameTimecode
from scenedetect.detectors import ContentDetector

from preprocessing.schema import FRAMES_PER_SECOND
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
    """PySceneDetect's content detector on a frame-by-frame stream."""

    def __init__(self, settings: ShotSettings) -> None:
        self._detector = ContentDetector(threshold=settings.threshold, min_scene_len=1)

    def begins_shot(self, index: int, image: NDArray[np.uint8]) -> bool:
        """Whether this frame starts a new shot.

        Args:
            index: frame number on the 25 fps grid, one more than in the last call.
            image: [H, W, 3] RGB.
        """
        height, width = image.shape[:2]
        scale = min(1.0, DETECTION_SIDE_PX / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST), cv2.COLOR_RGB2BGR)
        return bool(self._detector.process_frame(FrameTimecode(index, float(FRAMES_PER_SECOND)), small))
