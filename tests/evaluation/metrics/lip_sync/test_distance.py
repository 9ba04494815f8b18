"""LSE-C, LSE-D and offset of hand-made embeddings."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.metrics.lip_sync.distance import LipSyncScore, NotScored, score_embeddings
from preprocessing.audio.lip_sync_distance import distances_by_shift


def rows(count: int, width: int = 16, seed: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def table(rows_of: list[list[float]]) -> NDArray[np.float32]:
    return np.asarray(rows_of, np.float32)


def score(video: NDArray[np.float32], sound: NDArray[np.float32]) -> LipSyncScore:
    found = score_embeddings("hand", "frame", video, sound)
    assert isinstance(found, LipSyncScore)
    return found


def test_distances_of_one_pair_use_zeros_at_other_shifts() -> None:
    found = distances_by_shift(table([[3.0, 4.0]]), table([[0.0, 0.0]]))
    np.testing.assert_allclose(found, 5.0, atol=1e-5)
    found = distances_by_shift(table([[3.0, 4.0]]), table([[3.0, 0.0]]))
    np.testing.assert_allclose(found, [5.0] * 15 + [4.0] + [5.0] * 15, atol=1e-5)


def test_scores_follow_from_the_distances() -> None:
    # Instants 0 to 2 against sound two frames late: at s = 2 one instant fits, the other two meet zeros.
    video, sound = table([[1.0], [2.0], [4.0]]), table([[9.0], [9.0], [1.0]])
    found = score(video, sound)
    # s: -2 -> 1, 2, 5; -1 -> 1, 7, 5; 0 -> 8, 7, 3; 1 -> 8, 1, 4; 2 -> 0, 2, 4; elsewhere 1, 2, 4.
    expected = [7 / 3] * 13 + [8 / 3, 13 / 3, 6.0, 13 / 3, 2.0] + [7 / 3] * 13
    np.testing.assert_allclose(found.distances_by_shift, expected, atol=1e-5)
    assert found.lse_d == pytest.approx(2.0, abs=1e-5)
    assert found.lse_c == pytest.approx(1 / 3, abs=1e-5)
    assert (found.offset_frames, found.frames) == (-2, 3)


@pytest.mark.parametrize("late", range(-5, 6))
def test_shifted_sound_moves_the_offset(late: int) -> None:
    track = rows(140)
    video = track[20:120]
    assert score(video, track[20 - late : 120 - late]).offset_frames == -late


def test_score_ignores_the_rest_of_the_longer_one() -> None:
    video, sound = rows(40), rows(43, seed=4)
    assert score(video, sound) == score(video, sound[:40])
    assert score(video, sound).frames == 40


def test_confidence_falls_with_noise() -> None:
    video, noise = rows(100), rows(100, seed=5)
    confidences = [score(video, video + share * noise).lse_c for share in (np.float32(0.1), np.float32(1.0))]
    confidences.append(score(video, noise).lse_c)
    assert all(one > other + 0.1 for one, other in pairwise(confidences))


def test_empty_embeddings_are_not_scored() -> None:
    found = score_embeddings("hand", "frame", rows(0), rows(7))
    assert found == NotScored(
        "hand", "frame", "too_short", "0 windows of pictures and 7 of sound; need one of each"
    )


def test_score_embeddings_rejects_invalid_embeddings() -> None:
    with pytest.raises(ValueError, match=r"got \[3, 16\] and \[3, 8\]"):
        score_embeddings("hand", "frame", rows(3), rows(3, width=8))
    with pytest.raises(ValueError, match="hand returned embeddings that are not finite"):
        score_embeddings("hand", "frame", rows(3), np.full((3, 16), np.nan, np.float32))
