"""Contrastive loss (InfoNCE) with cosine similarity S."""

from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from training.losses.distances import NORM_FLOOR, cosine_similarity, full_precision

FORMULA_TEMPERATURE: Final = 1.0
"""PD-FGC's formulas have exp S without temperature, which means τ = 1. Unverified: whether training used a
smaller one; at 1 the loss stays above log(1 + K e⁻²), however good the features are."""


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
        positive: p, each query's positive.
        negatives: n_k, each query's negatives; K may be 0.
        temperature: τ > 0.

    Returns:
        Between log(1 + K exp(−2/τ)) and log(1 + K exp(2/τ)); log(1 + K) for constant features.
        Queries, positives and negatives get gradients.

    Raises:
        ValueError: the temperature is not positive.
    """
    require_temperature(temperature)
    to_positive = cosine_similarity(query, positive)[:, None]
    to_negatives = cosine_similarity(query[:, None], negatives)
    logits = torch.cat([to_positive, to_negatives], dim=1) / temperature
    return (logits.logsumexp(dim=1) - logits[:, 0]).mean()


def in_batch_contrastive_loss(
    query: Float[Tensor, "B D"],
    candidates: Float[Tensor, "B D"],
    *,
    temperature: float,
    excluded: Bool[Tensor, "B B"] | None = None,
) -> Float[Tensor, ""]:
    """`contrastive_loss` with the other candidates of the batch as each query's K = B − 1 negatives.

    Row i of the candidates is the positive of query i. Rows of the same or of nearly the same window would be
    false negatives: exclude them.

    Args:
        query: q_i.
        candidates: p_i, and the negatives of all other queries.
        temperature: τ > 0.
        excluded: [i, j]: candidate j is not used as a negative of query i; False on the diagonal.

    Returns:
        The same value as `contrastive_loss`; 0 for a batch of one.

    Raises:
        ValueError: the temperature is not positive.
    """
    require_temperature(temperature)
    # Autocast would round the product to half precision, and S with it.
    with torch.autocast(query.device.type, enabled=False):
        similarity = unit_length(query) @ unit_length(candidates).T
    if excluded is not None:
        similarity = similarity.masked_fill(excluded, -torch.inf)
    rows = torch.arange(len(query), device=query.device)
    return functional.cross_entropy(similarity / temperature, rows)


def unit_length(features: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Features scaled to unit length (zeros stay zero), in float32 at least."""
    return functional.normalize(full_precision(features), dim=1, eps=NORM_FLOOR)


def require_temperature(temperature: float) -> None:
    """Raise ValueError unless the temperature is positive."""
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
