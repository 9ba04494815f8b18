"""Distances between features.

Computed in float32 at least, so that half-precision features (autocast) neither overflow nor lose small
differences.

Shape letters here and in every file of this package:
    B  samples    D  width of a feature    K  negatives    N  earlier samples
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

NORM_FLOOR: Final = 1e-4
"""Lower bound on the norm that a vector is divided by. Ours: far below any trained feature's norm, but large
enough that an all-zero feature gets a gradient of at most 1e4, not 1e8 (PyTorch's default)."""


def full_precision(tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """float16 and bfloat16 become float32; float32 and float64 stay."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def cosine_similarity(a: Float[Tensor, "*#batch D"], b: Float[Tensor, "*#batch D"]) -> Float[Tensor, "..."]:
    """``S(a, b) = a·b / (||a||₂ ||b||₂)`` along the last dimension, in [-1, 1].

    The other dimensions broadcast. For a vector of zeros S = 0.
    """
    return functional.cosine_similarity(full_precision(a), full_precision(b), dim=-1, eps=NORM_FLOOR)


def mean_absolute_difference(a: Float[Tensor, "..."], b: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """``||a − b||₁ / (number of values)``: the mean over samples and every other dimension.

    Raises:
        ValueError: the shapes differ; broadcasting would hide the mistake.
    """
    if a.shape != b.shape:
        raise ValueError(f"features must have the same shape, got {list(a.shape)} and {list(b.shape)}")
    return (full_precision(a) - full_precision(b)).abs().mean()
