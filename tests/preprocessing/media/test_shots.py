"""A shot begins where the picture changes at once, not where it changes slowly."""

import numpy as np
import pytest

from preprocessing.media.shots import ShotDetector, ShotSettings


@pytest.mark.parametrize("size", [(90, 60), (1080, 1920)])
def test_a_cut_is_found_at_its_frame_and_a_slow_change_is_none(size: tuple[int, int]) -> None:
    detector = ShotDetector(ShotSettings())
    lot = np.random.default_rng(0)
    one, other = (lot.integers(0, 200, (*size, 3), np.uint8) for _ in range(2))
    pictures = [one, one, np.asarray(one + 3, np.uint8), other, other, np.asarray(other + 3, np.uint8)]
    begins = [detector.begins_shot(index, picture) for index, picture in enumerate(pictures)]
    assert begins == [False, False, False, True, False, False]
