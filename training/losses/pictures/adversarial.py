"""Adversarial hinge losses, for a discriminator that scores patches at several scales.

Source: as in PC-AVS, which PD-FGC builds on (formula: Lim & Ye 2017, "Geometric GAN"). Unverified: that
    PD-FGC
used them.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from training.losses.distances import full_precision


def discriminator_hinge_loss(
    scores_real: Sequence[Float[Tensor, "B ..."]], scores_generated: Sequence[Float[Tensor, "B ..."]]
) -> Float[Tensor, ""]:
    """``L_D = E[max(0, 1 − D(I_real))] + E[max(0, 1 + D(I_generated))]``, of the discriminator.

    E is the mean over samples and patches of one scale, then over scales, so that the loss does not depend
    on the image size or the number of scales.

    Args:
        scores_real: One map of scores per scale, [B, 1, H_s, W_s], higher is more real.
        scores_generated: The same of generated images, detached from the generator.

    Returns:
        At least 0, reached where every real score is ≥ 1 and every generated one ≤ −1; 2 for scores of 0.

    Raises:
        ValueError: no scale is given, or the two numbers of scales differ.
    """
    if len(scores_real) != len(scores_generated):
        raise ValueError(f"{len(scores_real)} scales of real scores but {len(scores_generated)} of generated")
    real = mean_over_scales([functional.relu(1 - full_precision(score)) for score in scores_real])
    generated = mean_over_scales([functional.relu(1 + full_precision(score)) for score in scores_generated])
    return real + generated


def generator_hinge_loss(scores_generated: Sequence[Float[Tensor, "B ..."]]) -> Float[Tensor, ""]:
    """``L_G = −E[D(I_generated)]``, of the generator; E as in `discriminator_hinge_loss`.

    Args:
        scores_generated: One map of scores per scale, [B, 1, H_s, W_s], higher is more real.

    Returns:
        Unbounded.

    Raises:
        ValueError: no scale is given.
    """
    return -mean_over_scales([full_precision(score) for score in scores_generated])


def mean_over_scales(maps: Sequence[Float[Tensor, "B ..."]]) -> Float[Tensor, ""]:
    """The mean over each scale's values, then over scales.

    Raises:
        ValueError: no scale is given.
    """
    if not maps:
        raise ValueError("no scale of scores given")
    return torch.stack([scale.mean() for scale in maps]).mean()
