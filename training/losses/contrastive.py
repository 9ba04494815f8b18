"""Contrast: a feature is more like its positive than like its negatives, by cosine similarity S."""

from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from training.losses.distances import NORM_FLOOR, cosine_similarity, full_precision

FORMULA_TEMPERATURE: Final = 1.0
"""PD-FGC's formulas print exp S, with no temperature, which is τ = 1. Unverified: whether the training
divided S by a smaller one; at 1 the loss stays above log(1 + K e⁻²) however good the features are."""


def contrastive_loss(
    query: Float[Tensor, "B D"],
    positive: Float[Tensor, "B D"],
    negatives: Float[Tensor, "B K D"],
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """``−log[ exp(S(q, p)/τ) / (exp(S(q, p)/τ) + Σ_k exp(S(q, n_k)/τ)) ]``, the mean over the batch.

    Args:
        query: q.
        positive: p, what each query belongs to.
        negatives: n_k, each query's own; their order does not matter, and K may be 0.
        temperature: τ > 0.

    Returns:
        Between log(1 + K exp(−2/τ)) and log(1 + K exp(2/τ)); log(1 + K) where nothing can be told apart.
        Queries, positives and negatives all get gradients.

    Raises:
        ValueError: the temperature is not positive.
    """
    require_temperature(temperature)
    of_positive = cosine_similarity(query, positive)[:, None]
    of_negatives = cosine_similarity(query[:, None], negatives)
    logits = torch.cat([of_positive, of_negatives], dim=1) / temperature
    return (logits.logsumexp(dim=1) - logits[:, 0]).mean()


def in_batch_contrastive_loss(
    query: Float[Tensor, "B D"],
    candidates: Float[Tensor, "B D"],
    *,
    temperature: float,
    left_out: Bool[Tensor, "B B"] | None = None,
) -> Float[Tensor, ""]:
    """`contrastive_loss` where the batch's other candidates are each query's K = B − 1 negatives.

    Row i of both belongs together. Two rows of one moment, or of two moments that sound alike, would be
    false negatives: name them.

    Args:
        query: q_i.
        candidates: p_i, and at once the negatives of every other query.
        temperature: τ > 0.
        left_out: [i, j]: candidate j is no negative of query i; never true where i = j.

    Returns:
        As `contrastive_loss`, which it equals; 0 for a batch of one.

    Raises:
        ValueError: the temperature is not positive.
    """
    require_temperature(temperature)
    # Autocast would round the product to half precision, and S with it.
    with torch.autocast(query.device.type, enabled=False):
        similarity = unit_length(query) @ unit_length(candidates).T
    if left_out is not None:
        similarity = similarity.masked_fill(left_out, -torch.inf)
    rows = torch.arange(len(query), device=query.device)
    return functional.cross_entropy(similarity / temperature, rows)


def unit_length(features: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Features of length one (a feature of zeros stays zero), in float32 at least."""
    return functional.normalize(full_precision(features), dim=1, eps=NORM_FLOOR)


def require_temperature(temperature: float) -> None:
    """Hold the temperature above zero.

    Raises:
        ValueError: it is not.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature must be above 0, got {temperature}")
