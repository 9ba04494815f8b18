"""NLSE-C: a generated video's lip sync confidence against that of the true video.

    NLSE-C = (LSE-C_generated - LSE-C_truth) / LSE-C_truth

0 is as good as the truth, -1 no confidence at all, above 0 better than the truth. With a truth of 0 or
less the quotient says nothing, so there it is undefined: not infinite, not zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.metrics.lip_sync.distance import LipSyncScore, NotScored


@dataclass(frozen=True)
class NormalisedConfidence:
    """NLSE-C of a video, or of many.

    Attributes:
        scorer: Whose figures.
        protocol: By which protocol.
        nlse_c: The figure; None where it is undefined.
        undefined_because: Why; empty where it is defined.
        lse_c_generated: None where nothing was scored.
        lse_c_truth: None where nothing was scored.
        videos: How many pairs are in it.
    """

    scorer: str
    protocol: str
    nlse_c: float | None
    undefined_because: str
    lse_c_generated: float | None
    lse_c_truth: float | None
    videos: int


def nlse_c(generated: LipSyncScore | NotScored, truth: LipSyncScore | NotScored) -> NormalisedConfidence:
    """NLSE-C of one video.

    Args:
        generated: The generated video's score.
        truth: The true video's, by the same scorer and protocol.

    Raises:
        ValueError: scorers or protocols differ.
    """
    require_one_column([generated, truth])
    reasons = [
        f"{name} is not scored: {score.reason}"
        for name, score in (("the generated video", generated), ("the truth", truth))
        if isinstance(score, NotScored)
    ]
    mine, theirs = (score.lse_c if isinstance(score, LipSyncScore) else None for score in (generated, truth))
    return normalised(generated.scorer, generated.protocol, mine, theirs, "; ".join(reasons), videos=1)


def overall_nlse_c(
    pairs: Sequence[tuple[LipSyncScore | NotScored, LipSyncScore | NotScored]],
) -> NormalisedConfidence:
    """NLSE-C over videos: the formula on the mean LSE-C of all pairs whose both videos are scored.

    Of means, not the mean of quotients: one true video with a confidence near 0 would outweigh all others.

    Args:
        pairs: Generated and true, all by one scorer and protocol.

    Raises:
        ValueError: there are no pairs, or scorers or protocols differ.
    """
    if not pairs:
        raise ValueError("need at least one pair of videos, got none")
    require_one_column([score for pair in pairs for score in pair])
    scored = [
        (generated.lse_c, truth.lse_c)
        for generated, truth in pairs
        if isinstance(generated, LipSyncScore) and isinstance(truth, LipSyncScore)
    ]
    scorer, protocol = pairs[0][0].scorer, pairs[0][0].protocol
    if not scored:
        reason = f"of {len(pairs)} pairs none has both videos scored"
        return normalised(scorer, protocol, None, None, reason, videos=0)
    generated_mean, truth_mean = (float(mean) for mean in np.mean(scored, axis=0))
    return normalised(scorer, protocol, generated_mean, truth_mean, "", videos=len(scored))


def normalised(
    scorer: str, protocol: str, generated: float | None, truth: float | None, reason: str, *, videos: int
) -> NormalisedConfidence:
    """The formula, undefined where either is missing or the truth is 0 or less."""
    value = None
    if generated is not None and truth is not None:
        if truth > 0.0:
            value = (generated - truth) / truth
        else:
            reason = f"the truth's LSE-C is {truth:.3f}, not above 0"
    return NormalisedConfidence(scorer, protocol, value, reason, generated, truth, videos)


def require_one_column(scores: Sequence[LipSyncScore | NotScored]) -> None:
    """Refuse to mix scorers or protocols.

    Raises:
        ValueError: they differ.
    """
    kinds = sorted({(score.scorer, score.protocol) for score in scores})
    if len(kinds) > 1:
        raise ValueError(f"scores of different scorers or protocols never mix: {kinds}")
