"""The live puppet: a portrait that the page moves by hand, one frame a request.

One puppet at a time, the newest: each holds a checkpoint in memory. The page asks for the next frame when it
has the last one, with the position of that moment, so the latest position wins and no queue grows.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from evaluation.animation.limited_reading import LimitedReader
from evaluation.animation.request import Device

if TYPE_CHECKING:
    from evaluation.animation.puppet import Puppet

QUALITY: Final = 85


class NoPuppetError(Exception):
    """The page has no puppet, or another page's has replaced it."""


class PuppetStage:
    """Holds the newest puppet; thread-safe. Torch is imported when the first one starts."""

    def __init__(self, root: UPath, device: Device, reader: LimitedReader) -> None:
        self._root, self._reader = root, reader
        self._device: Device = device
        self._lock = Lock()
        self._puppet: Puppet | None = None
        self._page = ""

    def start(self, page: str, portrait: Path, checkpoint: str) -> int:
        """Encode a portrait; returns the side of the pictures in px.

        Raises:
            FileNotFoundError: there is no such checkpoint or file.
            ValueError: the portrait shows no face, or the checkpoint cannot move one; one line.
        """
        from evaluation.animation.loading import load_talking_head
        from evaluation.animation.puppet import Puppet

        crop = self._reader.crop(portrait)
        with self._lock:
            self._puppet = None  # its checkpoint is freed before the next one is loaded
            head = load_talking_head(checkpoint, self._root, self._device)
            self._puppet, self._page = Puppet(head, crop), page
            return head.side_px

    def frame(self, page: str, position: Mapping[str, Any]) -> bytes:
        """The portrait at a position (`PuppetPosition`), as JPEG.

        Raises:
            NoPuppetError: the page has none.
            ValueError: a value is not within its bounds.
        """
        from evaluation.animation.puppet import PuppetPosition

        wanted = PuppetPosition.model_validate(position)
        with self._lock:
            if self._puppet is None or self._page != page:
                raise NoPuppetError("no puppet on this page, or another page has started one: start it again")
            picture = self._puppet.render(wanted)
        return jpeg_of(picture, QUALITY)


def jpeg_of(picture: NDArray[np.uint8], quality: int) -> bytes:
    """A picture [H, W, 3] RGB as JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
