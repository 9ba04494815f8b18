"""A shot starts where the picture changes at once, not where it changes slowly."""

import numpy as np
import pytest

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
    starts = [detector.begins_shot(index, picture) for index, picture in enumerate(pictures)]
    assert starts == [False, False, False, True, False, False]


def test_begins_shot_where_the_pictures_size_changes() -> None:
    detector = ShotDetector(ShotSettings())
    wide, high = np.full((90, 160, 3), 90, np.uint8), np.full((160, 90, 3), 90, np.uint8)
    pictures = [wide, wide, high, high, wide]
    starts = [detector.begins_shot(index, picture) for index, picture in enumerate(pictures)]
    assert starts == [False, False, True, False, True]
