"""Perceptual loss on VGG19's features (stages 1 and 3)."""

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from training.losses.distances import mean_absolute_difference

EQUAL_LAYER_WEIGHTS: Final = (1.0, 1.0, 1.0, 1.0, 1.0)
"""relu1_1 … relu5_1, as in PD-FGC's formula, which has no weights. Unverified beyond the formula."""
PC_AVS_LAYER_WEIGHTS: Final = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
"""relu1_1 … relu5_1 in PC-AVS, which PD-FGC builds on, and in pix2pixHD before it."""


def perceptual_loss(
    features_target: Sequence[Float[Tensor, "_ _ _ _"]],
    features_generated: Sequence[Float[Tensor, "_ _ _ _"]],
    layer_weights: Sequence[float] = EQUAL_LAYER_WEIGHTS,
) -> Float[Tensor, ""]:
    """``L_vgg = Σ_i w_i ||VGG_i(I_f) − VGG_i(I_g)||₁`` (PD-FGC, stage 3; there w_i = 1).

    Reading: ``||·||₁`` is the mean absolute difference of a layer, as PC-AVS and pix2pixHD compute it. A
    plain sum would be dominated by the largest map and depend on the image size.

    Args:
        features_target: One [B, C_i, H_i, W_i] per layer, of the driving frames.
        features_generated: The same of the generated frames.
        layer_weights: w_i, one per layer.

    Returns:
        At least 0; 0 for equal features. The targets get no gradient.

    Raises:
        ValueError: the numbers of layers and weights differ, none is given, or shapes differ.
    """
    counts = (len(features_target), len(features_generated), len(layer_weights))
    if len(set(counts)) > 1 or counts[0] == 0:
        raise ValueError(f"need as many target maps as generated maps and weights, at least 1; got {counts}")
    differences = [
        weight * mean_absolute_difference(target.detach(), generated)
        for weight, target, generated in zip(layer_weights, features_target, features_generated, strict=True)
    ]
    return torch.stack(differences).sum()
