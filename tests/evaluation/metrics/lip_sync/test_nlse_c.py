"""NLSE-C, and when it is missing."""

import pytest

from evaluation.metrics.lip_sync.distance import LipSyncScore, NotScored
from evaluation.metrics.lip_sync.nlse_c import measure_nlse_c, measure_overall_nlse_c, measure_true_lse_c
from evaluation.metrics.metric import Measurement


def scored(lse_c: float, protocol: str = "frame") -> LipSyncScore:
    return LipSyncScore("syncnet_v2", protocol, lse_c, 7.0, 0, (8.0,) * 31, 100)


SHORT = NotScored("syncnet_v2", "frame", "too_short", "0.2 s")


def test_nlse_c_is_relative_to_the_truth() -> None:
    assert measure_nlse_c(scored(6.0), scored(8.0)) == Measurement(-0.25)
    assert measure_true_lse_c(scored(6.0), scored(8.0)) == Measurement(8.0)


@pytest.mark.parametrize("truth", [0.0, -0.5])
def test_nlse_c_is_missing_if_the_truth_is_not_positive(truth: float) -> None:
    measured = measure_nlse_c(scored(6.0), scored(truth))
    assert measured == Measurement(None, f"the truth's LSE-C is {truth:.3f}, not above 0")
    assert measure_true_lse_c(scored(6.0), scored(truth)) == Measurement(truth)


def test_nlse_c_is_missing_if_a_video_is_not_scored() -> None:
    reason = "the truth is not scored: too_short"
    assert measure_nlse_c(scored(6.0), SHORT) == Measurement(None, reason)
    assert measure_true_lse_c(scored(6.0), SHORT) == Measurement(None, reason)
    generated = measure_nlse_c(SHORT, scored(1.0))
    assert generated.missing_because == "the generated video is not scored: too_short"


def test_overall_nlse_c_uses_means_over_pairs_scored_on_both_sides() -> None:
    generated = [scored(6.0), scored(4.0), scored(9.0)]
    # Means 5 and 4 of the first two pairs.
    assert measure_overall_nlse_c(generated, [scored(8.0), scored(0.0), SHORT]) == Measurement(0.25)
    nothing = measure_overall_nlse_c([scored(9.0)], [SHORT])
    assert nothing == Measurement(None, "of 1 pairs none has both videos scored")


def test_nlse_c_rejects_different_protocols() -> None:
    with pytest.raises(ValueError, match="cannot be combined"):
        measure_nlse_c(scored(6.0), scored(8.0, protocol="track"))
