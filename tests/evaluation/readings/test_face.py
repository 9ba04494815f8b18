"""Reading videos of a photo that scikit-image carries, and what is read of no face."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut

from evaluation.readings.face import MEASURES, FaceReader, readings_of_landmarks
from tests.factories.evaluation.readings import readings

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def face() -> Picture:
    return np.asarray(cv2.resize(astronaut()[30:200, 140:310], (224, 224)), np.uint8)


def turned(face: Picture, degrees: float) -> Picture:
    turn = cv2.getRotationMatrix2D((112.0, 112.0), degrees, 1.0)
    return np.asarray(cv2.warpAffine(face, turn, (224, 224)), np.uint8)


def test_rotated_picture_rolls_and_blank_has_no_face(face: Picture) -> None:
    with FaceReader() as reader:
        read = reader.read([turned(face, 0.0), turned(face, 10.0), np.zeros_like(face)])
        again = reader.read([turned(face, 0.0), turned(face, 10.0), np.zeros_like(face)])
    assert read.found.tolist() == [True, True, False]
    assert read.measure("roll")[1] - read.measure("roll")[0] == pytest.approx(10.0, abs=1.0)
    assert all(np.isnan(read.measure(name)[2]) for name in MEASURES)
    assert all(np.isfinite(read.measure(name)[:2]).all() for name in MEASURES)
    np.testing.assert_array_equal(again.landmarks_px, read.landmarks_px)


def test_small_frames_are_read_in_crop_pixels(face: Picture) -> None:
    small = np.asarray(cv2.resize(face, (112, 112), interpolation=cv2.INTER_AREA), np.uint8)
    with FaceReader() as reader:
        large, enlarged = reader.read([face]), reader.read([small])
    offset = np.abs(enlarged.landmarks_px - large.landmarks_px)[0, :, :2]
    assert np.median(offset) < 1.0


def test_given_levels_decide_what_is_open(face: Picture) -> None:
    with FaceReader() as reader:
        own = reader.read([face])
        assert own.levels is not None
        wide = own.levels._replace(open=2 * own.levels.open)
        drooping = reader.read([face], wide)
    assert own.blink[0].tolist() == [0.0, 0.0]
    # Half of what is open, shut at .2 of one half: (2 - 1) / (2 - .2).
    assert drooping.blink[0].tolist() == pytest.approx([1 / 1.8, 1 / 1.8], abs=1e-4)


def test_video_without_a_face_is_all_nan() -> None:
    read = readings_of_landmarks([None, None])
    assert read.found.tolist() == [False, False]
    assert np.isnan(read.measure("yaw")).all()
    assert read.levels is None


def test_reader_rejects_frames_that_are_not_square() -> None:
    with FaceReader() as reader, pytest.raises(ValueError, match=r"a frame is \[4, 5, 3\]"):
        reader.read([np.zeros((4, 5, 3), np.uint8)])


def test_measure_rejects_unknown_names() -> None:
    with pytest.raises(ValueError, match="no measure 'nose'"):
        readings().measure("nose")
