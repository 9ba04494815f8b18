"""The face crop that the networks will see of an uploaded picture or video, for the page's previews."""

import io
from pathlib import Path
from threading import Lock
from typing import Final

from preprocessing.schema import FRAMES_PER_SECOND

QUALITY: Final = 88
FACE_READERS: Final = Lock()
"""Held while faces are read, by a crop or a video: TFLite's interpreters are shared and not thread-safe."""


def face_crop(path: Path) -> bytes:
    """The aligned crop of the first face in the first second, 224 x 224, as JPEG.

    MediaPipe is imported at the first call.

    Raises:
        ValueError: the file cannot be read, or shows no face or several; one line that names it.
    """
    from PIL import Image

    from evaluation.animation.drivers import FaceFollower

    with FACE_READERS, FaceFollower() as follower:
        crop = next(follower.follow(path, maximum_frames=FRAMES_PER_SECOND).crops(1))
    buffer = io.BytesIO()
    Image.fromarray(crop).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
