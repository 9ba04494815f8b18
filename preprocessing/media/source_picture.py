"""A decoded picture of which parts are converted to RGB, as they are needed.

A frame of a large video is 6 MB of RGB, of which tracking needs the window around a face and some samples.
Parts are converted by swscale as the whole is, so their pixels are those of the whole.
"""

from typing import Any, Final, TypeAlias, cast

import cv2
import numpy as np
from av.video.frame import VideoFrame as SourceFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from preprocessing.media.colour import colour_of, to_rgb
from preprocessing.media.container import DisplayGeometry

PLANAR_FORMATS: Final = ("yuv420p", "yuvj420p")  # one chroma sample for each 2 x 2 pixels
SIDE_STEP_PX: Final = 64  # of parts: swscale prepares itself anew for every other size
SMALLEST_PIXELS: Final = 400_000  # a smaller picture is converted as a whole, which takes .1 ms
LARGEST_SHARE: Final = 0.5  # of the picture; a larger part is cut from the whole


class Converter:
    """Converts pictures to RGB; keeps what swscale has prepared for each size."""

    MAXIMUM_SIZES: Final = 32

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._reformatters: dict[tuple[int, int], VideoReformatter] = {}

    def convert(self, frame: SourceFrame, width_px: int, height_px: int) -> NDArray[np.uint8]:
        """[height_px, width_px, 3] RGB, as `to_rgb`."""
        if len(self._reformatters) >= self.MAXIMUM_SIZES:
            self._reformatters.clear()
        reformatter = self._reformatters.setdefault((frame.width, frame.height), VideoReformatter())
        return to_rgb(reformatter, frame, width_px, height_px, self._threads)


class SourcePicture:
    """RGB of a decoded picture as a player displays it: square pixels, upright, SDR.

    `picture[top:bottom, left:right]` and `np.asarray(picture)` are uint8 arrays, read-only.

    Attributes:
        shape: height, width, 3.
    """

    def __init__(self, frame: SourceFrame, geometry: DisplayGeometry, converter: Converter) -> None:
        self.shape: Final = (geometry.displayed_height_px, geometry.displayed_width_px, 3)
        self._frame, self._geometry, self._converter = frame, geometry, converter
        self._whole: NDArray[np.uint8] | None = None
        self._parts: list[tuple[int, int, NDArray[np.uint8]]] = []  # left, top, pixels
        self._planes = None if colour_of(frame).is_mapped else _planes(frame, self.shape)
        if geometry.is_mirrored or geometry.quarter_turns:
            self._planes = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.uint8]:
        if self._whole is None:
            geometry = self._geometry
            image = self._converter.convert(self._frame, geometry.width_px, geometry.height_px)
            if geometry.is_mirrored:
                image = image[:, ::-1]
            if geometry.quarter_turns:
                image = np.rot90(image, geometry.quarter_turns)
            self._whole = np.ascontiguousarray(image)
            self._whole.flags.writeable = False
            self._parts = []
        return self._whole

    def __getitem__(self, box: tuple[slice, slice]) -> NDArray[np.uint8]:
        (top, bottom, _), (left, right, _) = (
            part.indices(length) for part, length in zip(box, self.shape[:2], strict=True)
        )
        is_large = (bottom - top) * (right - left) > LARGEST_SHARE * self.shape[0] * self.shape[1]
        if self._planes is None or self._whole is not None or is_large or bottom <= top or right <= left:
            return np.asarray(self)[box]
        part_left, part_top, pixels = self._part(left, top, right, bottom)
        rows = slice(top - part_top, bottom - part_top, box[0].step)
        return pixels[rows, left - part_left : right - part_left : box[1].step]

    def _part(self, left: int, top: int, right: int, bottom: int) -> tuple[int, int, NDArray[np.uint8]]:
        """A converted part that holds a box; a new one if there is none."""
        for part in self._parts:
            height, width = part[2].shape[:2]
            if part[0] <= left and part[1] <= top and right <= part[0] + width and bottom <= part[1] + height:
                return part
        assert self._planes is not None
        left, right = _widened(left, right, self.shape[1])
        top, bottom = _widened(top, bottom, self.shape[0])
        luma, *chroma = self._planes
        halves = slice(top // 2, (bottom + 1) // 2), slice(left // 2, (right + 1) // 2)
        pixels = self._rgb_of(luma[top:bottom, left:right], [plane[halves] for plane in chroma])
        pixels.flags.writeable = False
        self._parts.append((left, top, pixels))
        return self._parts[-1]

    def _rgb_of(self, luma: NDArray[np.uint8], chroma: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        height, width = luma.shape
        part = SourceFrame(width, height, self._frame.format.name)
        for plane, values in zip(part.planes, (luma, *chroma), strict=True):
            _memory(plane)[:, : values.shape[1]] = values
        part.colorspace, part.color_range = self._frame.colorspace, self._frame.color_range
        return self._converter.convert(part, width, height)

    def nearest(self, width: int, height: int) -> NDArray[np.uint8]:
        """Samples [height, width, 3], those of `cv2.resize` with INTER_NEAREST."""
        if self._planes is None or self._whole is not None:
            return _resized(np.asarray(self), width, height)
        luma, *chroma = self._planes
        rows = _places(height, self.shape[0])[:, None]
        columns = _places(width, self.shape[1])
        # Each sample becomes a block of 2 x 2 with its own chroma.
        blocks = luma[rows, columns].repeat(2, axis=0).repeat(2, axis=1)
        return self._rgb_of(blocks, [plane[rows // 2, columns // 2] for plane in chroma])[::2, ::2]


Picture: TypeAlias = NDArray[np.uint8] | SourcePicture
"""[H, W, 3] RGB, of which parts can be cut."""


def nearest_samples(picture: Picture, width: int, height: int) -> NDArray[np.uint8]:
    """[height, width, 3] of a picture, without smoothing."""
    if isinstance(picture, SourcePicture):
        return picture.nearest(width, height)
    return _resized(picture, width, height)


def _resized(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _places(samples: int, length: int) -> NDArray[np.intp]:
    step = 1.0 / (samples / length)  # rounded as OpenCV rounds it
    return np.minimum(np.arange(samples) * step, length - 1).astype(np.intp)


def _widened(start: int, end: int, length: int) -> tuple[int, int]:
    """A range of whole steps around one, from an even place on, or all of `length`."""
    start -= start % 2
    wanted = -(-(end - start) // SIDE_STEP_PX) * SIDE_STEP_PX
    if wanted >= length:
        return 0, length
    start = min(start, (length - wanted) // 2 * 2)
    return start, max(end, start + wanted)


def _planes(frame: SourceFrame, shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], ...] | None:
    """The picture's planes [H, W], [H/2, W/2], [H/2, W/2], shared with it; None if its format has others."""
    if frame.format.name not in PLANAR_FORMATS or shape[:2] != (frame.height, frame.width):
        return None
    if frame.width * frame.height < SMALLEST_PIXELS or any(plane.line_size <= 0 for plane in frame.planes):
        return None  # small, or stored bottom up
    return tuple(_memory(plane)[:, : plane.width] for plane in frame.planes)


def _memory(plane: VideoPlane) -> NDArray[np.uint8]:
    """[height, bytes of a line] shared with a plane."""
    # PyAV's planes are buffers; their types do not say so.
    values = np.frombuffer(cast("memoryview", plane), np.uint8, plane.height * plane.line_size)
    return values.reshape(plane.height, plane.line_size)
