"""A portrait moved by hand with the starter model: every control moves it, and nothing else does."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from upath import UPath

from evaluation.animation.drivers import FaceFollower
from evaluation.animation.loading import load_talking_head
from evaluation.animation.puppet import Puppet, PuppetPosition
from evaluation.readings.face import FaceReader
from tests.factories.evaluation.head_files import publish_toy_run
from tests.factories.preprocessing.videos import face_pictures


@pytest.fixture(scope="module")
def crop(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    path = tmp_path_factory.mktemp("portrait") / "face.png"
    cv2.imwrite(str(path), cv2.cvtColor(face_pictures(1)[0], cv2.COLOR_RGB2BGR))
    with FaceFollower() as follower:
        return next(follower.follow(path).crops(1))


@pytest.fixture(scope="module")
def puppet(crop: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Puppet:
    return Puppet(load_talking_head("starter", UPath(tmp_path_factory.mktemp("root")), "cpu"), crop)


def test_same_position_gives_the_same_picture(puppet: Puppet) -> None:
    first = puppet.render(PuppetPosition())
    assert (first.shape, first.dtype) == ((96, 96, 3), np.uint8)
    puppet.render(PuppetPosition(yaw=30, lids=1))
    assert np.array_equal(puppet.render(PuppetPosition()), first)


def test_head_turns_to_the_side_that_it_is_moved_to(puppet: Puppet) -> None:
    with FaceReader() as reader:
        positions = [PuppetPosition(yaw=-20), PuppetPosition(yaw=20)]
        readings = [reader.read([puppet.render(position)]).pose_rad[0, 1] for position in positions]
    assert np.degrees(readings[1] - readings[0]) > 10  # of 40, in a face far from those it was trained on


@pytest.mark.parametrize("name", ["pitch", "roll", "gaze_pitch", "gaze_yaw", "lids"])
def test_every_control_changes_the_picture(puppet: Puppet, name: str) -> None:
    change = 1.0 if name == "lids" else 20.0
    still = puppet.render(PuppetPosition()).astype(int)
    moved = puppet.render(PuppetPosition.model_validate({name: change})).astype(int)
    assert np.abs(moved - still).max() > 4
    without = puppet.render(PuppetPosition.model_validate({name: change, "strength": 0.0}))
    assert np.array_equal(without, still)


def test_head_without_eye_axes_is_refused(
    tmp_path: Path,
    crop: NDArray[np.uint8],
    toy_presets: None,  # noqa: ARG001
) -> None:
    root = publish_toy_run(tmp_path, "old")
    with pytest.raises(ValueError, match="run 'old': the puppet needs a run whose stage2_eye measured gaze"):
        Puppet(load_talking_head("old", root, "cpu"), crop)


def test_position_out_of_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="yaw must be <= 40, got 90"):
        PuppetPosition(yaw=90)
