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
    """PySceneDetect's content detector on a frame-by-frame stream.

    A picture of another size begins a shot: a phone that was turned while recording, or another camera.
    """

    def __init__(self, settings: ShotSettings) -> None:
        self._settings = settings
        self._detector = self._new_detector()
        self._size: tuple[int, int] | None = None  # height, width of the last picture

    def _new_detector(self) -> ContentDetector:
        return ContentDetector(threshold=self._settings.threshold, min_scene_len=1)

    def begins_shot(self, index: int, image: NDArray[np.uint8]) -> bool:
        """Whether this frame starts a new shot.

        Args:
            index: frame number on the 25 fps grid, one more than in the last call.
            image: [H, W, 3] RGB.
        """
        height, width = image.shape[:2]
        is_resized = self._size is not None and self._size != (height, width)
        self._size = (height, width)
        if is_resized:
            self._detector = self._new_detector()  # it compares pictures of one size
        scale = min(1.0, DETECTION_SIDE_PX / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST), cv2.COLOR_RGB2BGR)
        cuts = self._detector.process_frame(FrameTimecode(index, float(FRAMES_PER_SECOND)), small)
        return is_resized or bool(cuts)
