"""Parts of pictures have the pixels of the whole."""

import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame as SourceFrame
from av.video.reformatter import Colorspace
from numpy.typing import NDArray
from skimage.data import astronaut

from preprocessing.media.container import DisplayGeometry
from preprocessing.media.source_picture import Converter, SourcePicture, nearest_samples

SIDE = 760  # large enough to be converted in parts


def frame_of(pixels: str) -> SourceFrame:
    image = np.asarray(cv2.resize(astronaut(), (SIDE, SIDE - 40)), np.uint8)
    frame = SourceFrame.from_ndarray(image, "rgb24").reformat(format=pixels)
    frame.colorspace = Colorspace.ITU709
    return frame


def picture_of(frame: SourceFrame, turns: int = 0, *, is_mirrored: bool = False) -> SourcePicture:
    return SourcePicture(frame, DisplayGeometry(SIDE, SIDE - 40, turns, is_mirrored), Converter(1))


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv444p"])
def test_parts_are_those_of_the_whole(pixels: str) -> None:
    frame = frame_of(pixels)
    whole = np.asarray(picture_of(frame))
    assert whole.shape == (SIDE - 40, SIDE, 3)
    picture = picture_of(frame)
    for top, bottom, left, right in [
        (3, 300, 101, 350),
        (5, 290, 111, 340),
        (500, 720, 471, 760),
        (0, 720, 0, 9),
    ]:
        np.testing.assert_array_equal(picture[top:bottom, left:right], whole[top:bottom, left:right])
    np.testing.assert_array_equal(picture[9:90:3, 200:300:2], whole[9:90:3, 200:300:2])
    np.testing.assert_array_equal(picture[10:10, 5:50], whole[10:10, 5:50])
    np.testing.assert_array_equal(picture[:, :], whole)


def test_nearest_samples_are_those_of_the_whole() -> None:
    frame = frame_of("yuv420p")
    whole: NDArray[np.uint8] = np.asarray(picture_of(frame))
    expected = nearest_samples(whole, 34, 32)
    assert expected.shape == (32, 34, 3)
    np.testing.assert_array_equal(nearest_samples(picture_of(frame), 34, 32), expected)


def test_picture_is_turned_and_mirrored() -> None:
    frame = frame_of("yuv420p")
    turned = picture_of(frame, 1, is_mirrored=True)
    assert turned.shape == (SIDE, SIDE - 40, 3)
    expected = np.rot90(np.asarray(picture_of(frame))[:, ::-1])
    np.testing.assert_array_equal(turned[20:60, 30:80], expected[20:60, 30:80])
    with pytest.raises(ValueError, match="read-only"):
        turned[0:1, 0:1][:] = 0
