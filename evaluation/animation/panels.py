"""The side-by-side video's frames: the portrait, what was made, and the faces that drove it."""

from collections.abc import Iterator, Mapping
from itertools import repeat
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.animation.media import read_pictures
from evaluation.animation.rendering import Face
from preprocessing.schema import CROP_SIDE_PX

CAPTION_PX: Final = 24
PAPER: Final = 250
INK: Final = (30, 30, 34)
ORDER: Final = ("pose", "eye", "expression")


def panels(
    video: Path, portrait: NDArray[np.uint8], faces: Mapping[str, Face], frames: int
) -> Iterator[NDArray[np.uint8]]:
    """Frames [248, 224 n, 3]: captions above n pictures.

    Args:
        video: what was made, as it was written; enlarged where its networks are small.
        portrait: aligned crop [224, 224, 3].
        faces: by control; those left out have no panel.
        frames: of the video.
    """
    names = [name for name in ORDER if name in faces]
    caption = np.concatenate([_caption(name) for name in ("appearance", "generated", *names)], axis=1)
    crops = [faces[name].crops(frames) for name in names]
    generated = (_enlarged(frame.image) for frame in read_pictures(video))
    for row in zip(repeat(portrait, frames), generated, *crops, strict=True):
        yield np.concatenate([caption, np.concatenate(row, axis=1)])


def _enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (CROP_SIDE_PX, CROP_SIDE_PX)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _caption(text: str) -> NDArray[np.uint8]:
    strip = np.full((CAPTION_PX, CROP_SIDE_PX, 3), PAPER, np.uint8)
    return np.asarray(
        cv2.putText(strip, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA), np.uint8
    )
