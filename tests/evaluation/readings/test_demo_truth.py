"""The demo corpus's truth as readings."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from demo_corpus.rendering.camera import Camera
from demo_corpus.truth import TRUTH_SCHEMA, write_truth
from evaluation.readings.demo_truth import true_readings, truth_path
from preprocessing.schema import ClipSource


def source(frames: int, first_frame: int, turn_degrees: float = 0.0) -> ClipSource:
    """A clip whose crop is the 224 px video, turned about its middle."""
    camera = Camera(224)
    cosine, sine = np.cos(np.radians(turn_degrees)), np.sin(np.radians(turn_degrees))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    middle = camera.project(np.zeros(3))
    transform = np.column_stack([turn, np.array([112.0, 112.0]) - turn @ middle]).astype(np.float32)
    return ClipSource("0" * 16, "a/b.mp4", 0, first_frame, "official", np.stack([transform] * frames))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A video of ten frames: each column counts up from its number, in hundredths; the head stays put."""
    columns = {field.name: 0.01 * (number + np.arange(10.0)) for number, field in enumerate(TRUTH_SCHEMA)}
    columns |= {name: np.zeros(10) for name in ("x_cm", "y_cm", "z_cm")}
    columns["frame"] = np.arange(10.0)
    path = tmp_path / "b.mp4"
    write_truth(truth_path(path), columns, Camera(224), "fingerprint")
    return path


def test_truth_is_of_the_clips_own_frames(video: Path) -> None:
    read = true_readings(source(frames=4, first_frame=3), video)
    assert read is not None
    number = {field.name: place for place, field in enumerate(TRUTH_SCHEMA)}

    def expected(name: str) -> NDArray[np.float64]:
        return 0.01 * (number[name] + np.arange(3.0, 7.0))

    np.testing.assert_allclose(read.mouth_opening, expected("mouth_opening_cm"), atol=1e-6)
    np.testing.assert_allclose(read.blink[:, 1], expected("blink_right"), atol=1e-6)
    np.testing.assert_allclose(read.gaze_rad[:, 0], expected("gaze_pitch_rad"), atol=1e-6)
    np.testing.assert_allclose(read.smile, expected("smile"), atol=1e-6)
    np.testing.assert_allclose(read.pose_rad[:, 1], expected("yaw_rad"), atol=1e-5)
    assert read.found.all()
    assert np.isnan(read.landmarks_px).all()


def test_true_pose_rotates_with_the_crop(video: Path) -> None:
    upright, turned = (true_readings(source(4, 3, degrees), video) for degrees in (0.0, 10.0))
    assert upright is not None
    assert turned is not None
    # The image's y runs down, so this transform turns clockwise: a smaller roll.
    difference = turned.measure("roll") - upright.measure("roll")
    np.testing.assert_allclose(difference, -10.0, atol=1e-3)


def test_video_without_truth_gives_none(tmp_path: Path) -> None:
    assert true_readings(source(4, 0), tmp_path / "other.mp4") is None


def test_clip_beyond_its_truth_is_rejected(video: Path) -> None:
    with pytest.raises(ValueError, match="has 10 frames, the clip ends with frame 11"):
        true_readings(source(4, 7), video)
