"""NLSE-C: lip sync confidence of a generated video relative to that of the true video.

    NLSE-C = (LSE-C_generated - LSE-C_truth) / LSE-C_truth

0 is as good as the truth, -1 no confidence at all, above 0 better than the truth. If the truth's LSE-C is 0
or less the quotient is meaningless, so NLSE-C is missing: neither infinite nor zero.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.metrics.lip_sync.distance import LipSyncScore, NotScored, Score
from evaluation.metrics.metric import Measurement, Metric, MetricWeights
from evaluation.records import MODEL


def measure_nlse_c(generated: Score, truth: Score) -> Measurement:
    """NLSE-C of one video.

    Args:
        generated: Score of the generated video.
        truth: Score of the true video, by the same scorer and protocol.

    Raises:
        ValueError: scorers or protocols differ.
    """
    _require_same_scorer([generated, truth])
    if isinstance(generated, NotScored) or isinstance(truth, NotScored):
        reasons = [
            f"{name} is not scored: {score.reason}"
            for name, score in (("the generated video", generated), ("the truth", truth))
            if isinstance(score, NotScored)
        ]
        return Measurement(None, "; ".join(reasons))
    return _normalised(generated.lse_c, truth.lse_c)


def measure_overall_nlse_c(generated: Sequence[Score], truths: Sequence[Score]) -> Measurement:
    """NLSE-C over videos: the formula on the mean LSE-C of all pairs of which both videos are scored.

    Of means, not the mean of quotients: a single true video with a confidence near 0 would outweigh all
    others.

    Args:
        generated: At least one, all by one scorer and protocol.
        truths: Of the same videos.

    Raises:
        ValueError: scorers or protocols differ.
    """
    _require_same_scorer([*generated, *truths])
    scored = [
        (score.lse_c, truth.lse_c)
        for score, truth in zip(generated, truths, strict=True)
        if isinstance(score, LipSyncScore) and isinstance(truth, LipSyncScore)
    ]
    if not scored:
        return Measurement(None, f"of {len(generated)} pairs none has both videos scored")
    mean, true_mean = (float(value) for value in np.mean(scored, axis=0))
    return _normalised(mean, true_mean)


def measure_true_lse_c(_: Score, truth: Score) -> Measurement:
    """LSE-C of the true video, the denominator of NLSE-C."""
    if isinstance(truth, NotScored):
        return Measurement(None, f"the truth is not scored: {truth.reason}")
    return Measurement(truth.lse_c)


def nlse_metrics(protocol: str, weights: MetricWeights | None) -> tuple[Metric[Any, Any], ...]:
    """Metrics by one protocol; of the model's videos alone."""
    methods = (MODEL,)
    overall = f"nlse_c_overall_{protocol}"
    return (
        Metric(f"nlse_c_{protocol}", protocol, "", "higher", measure_nlse_c, None, weights, methods=methods),
        Metric(
            f"truth_lse_c_{protocol}",
            protocol,
            "",
            "neither",
            measure_true_lse_c,
            None,
            weights,
            methods=methods,
        ),
        Metric(
            overall,
            protocol,
            "",
            "higher",
            measure_overall_nlse_c,
            weights=weights,
            methods=methods,
            over_all_videos=True,
        ),
    )


def _normalised(generated: float, truth: float) -> Measurement:
    if truth <= 0.0:
        return Measurement(None, f"the truth's LSE-C is {truth:.3f}, not above 0")
    return Measurement((generated - truth) / truth)


def _require_same_scorer(scores: Sequence[Score]) -> None:
    kinds = sorted({(score.scorer, score.protocol) for score in scores})
    if len(kinds) > 1:
        raise ValueError(f"scores of different scorers or protocols cannot be combined: {kinds}")
