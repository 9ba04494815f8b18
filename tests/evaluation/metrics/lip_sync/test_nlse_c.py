"""NLSE-C, and where it is undefined."""

import pytest

from evaluation.metrics.lip_sync.distance import LipSyncScore, NotScored
from evaluation.metrics.lip_sync.nlse_c import nlse_c, overall_nlse_c


def scored(lse_c: float, protocol: str = "frame") -> LipSyncScore:
    return LipSyncScore("syncnet_v2", protocol, lse_c, 7.0, 0, (8.0,) * 31, 100)


SHORT = NotScored("syncnet_v2", "frame", "too_short", "0.2 s")


def test_a_video_is_measured_by_its_truth() -> None:
    found = nlse_c(scored(6.0), scored(8.0))
    assert (found.nlse_c, found.lse_c_generated, found.lse_c_truth) == (-0.25, 6.0, 8.0)
    assert found.undefined_because == ""


@pytest.mark.parametrize("truth", [0.0, -0.5])
def test_a_truth_not_above_zero_leaves_it_undefined(truth: float) -> None:
    found = nlse_c(scored(6.0), scored(truth))
    assert found.nlse_c is None
    assert found.undefined_because == f"the truth's LSE-C is {truth:.3f}, not above 0"
    assert found.lse_c_truth == truth


def test_what_is_not_scored_leaves_it_undefined() -> None:
    found = nlse_c(scored(6.0), SHORT)
    assert (found.nlse_c, found.lse_c_generated, found.lse_c_truth) == (None, 6.0, None)
    assert found.undefined_because == "the truth is not scored: too_short"
    assert nlse_c(SHORT, scored(1.0)).undefined_because == "the generated video is not scored: too_short"


def test_overall_is_of_the_means_over_pairs_scored_on_both_sides() -> None:
    found = overall_nlse_c([(scored(6.0), scored(8.0)), (scored(2.0), scored(0.0)), (scored(9.0), SHORT)])
    assert (found.lse_c_generated, found.lse_c_truth, found.nlse_c, found.videos) == (4.0, 4.0, 0.0, 2)
    nothing = overall_nlse_c([(scored(9.0), SHORT)])
    assert (nothing.nlse_c, nothing.videos) == (None, 0)
    assert nothing.undefined_because == "of 1 pairs none has both videos scored"


def test_protocols_never_mix() -> None:
    with pytest.raises(ValueError, match="never mix"):
        nlse_c(scored(6.0), scored(8.0, protocol="track"))
