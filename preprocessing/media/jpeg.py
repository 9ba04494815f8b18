"""JPEG files in memory, through OpenCV, in RGB order."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.shards import jpeg_size

MAXIMUM_PIXELS: Final = 2**24  # of crops and sheets; the header may claim 65535 x 65535


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Encode an RGB image [H, W, 3]; `quality` is libjpeg's, 0 to 100."""
    encoded, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert encoded
    return data.tobytes()


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG file to RGB [H, W, 3].

    Raises:
        ValueError: `data` is not a JPEG file, or has too many pixels.
    """
    width, height = jpeg_size(data)
    if width * height > MAXIMUM_PIXELS:
        raise ValueError(f"a JPEG file of {width} x {height} px, need at most {MAXIMUM_PIXELS} pixels")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:  # pyright: ignore[reportUnnecessaryComparison]  (OpenCV's types leave it out)
        raise ValueError(f"{len(data)} bytes are not a JPEG file")
    return image.astype(np.uint8, copy=False)
