"""A shot starts where the picture changes at once, not where it changes slowly."""

import cv2
import numpy as np
import pytest
from scenedetect import FrameTimecode
from scenedetect.detectors import ContentDetector

from preprocessing.media.shots import ShotDetector, ShotSettings


@pytest.mark.parametrize("size", [(90, 60), (1080, 1920)])
def test_begins_shot_at_a_cut_only(size: tuple[int, int]) -> None:
    detector = ShotDetector(ShotSettings())
    rng = np.random.default_rng(0)
    before, after = (rng.integers(0, 200, (*size, 3), np.uint8) for _ in range(2))
    pictures = [
        before,
        before,
        np.asarray(before + 3, np.uint8),
        after,
        after,
        np.asarray(after + 3, np.uint8),
    ]
    starts = [detector.begins_shot(picture) for picture in pictures]
    assert starts == [False, False, False, True, False, False]


def test_begins_shot_where_the_pictures_size_changes() -> None:
    detector = ShotDetector(ShotSettings())
    wide, high = np.full((90, 160, 3), 90, np.uint8), np.full((160, 90, 3), 90, np.uint8)
    pictures = [wide, wide, high, high, wide]
    starts = [detector.begins_shot(picture) for picture in pictures]
    assert starts == [False, False, True, False, True]


def test_begins_shot_decides_as_pyscenedetect_does() -> None:
    ours, theirs = ShotDetector(ShotSettings()), ContentDetector(threshold=27.0, min_scene_len=1)
    rng = np.random.default_rng(1)
    picture, starts = rng.integers(0, 256, (32, 32, 3), np.uint8), []
    for index in range(40):
        changed = rng.random((32, 32)) < rng.uniform(0.0, 0.8)
        picture = np.where(changed[..., None], rng.integers(0, 256, (32, 32, 3), np.uint8), picture)
        expected = theirs.process_frame(FrameTimecode(index, 25.0), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        starts.append(ours.begins_shot(picture))
        assert starts[-1] == bool(expected)
    assert 5 < sum(starts) < 35
