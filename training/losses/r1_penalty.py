"""R1: the discriminator stays flat around real pictures."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from training.losses.distances import full_precision


def r1_penalty(
    scores_real: Sequence[Float[Tensor, "B ..."]], image_real: Float[Tensor, "B C H W"]
) -> Float[Tensor, ""]:
    """``R1 = E[||∇_I D(I)||₂²]`` over real pictures (Mescheder et al. 2018).

    The usual weight is γ/2; the stage's config holds it. D(I), one number per picture, is the mean over
    patches and scales, the one that the hinge losses take: the usual γ of single-score discriminators
    therefore does not carry over. Samples must not mix inside the discriminator (no batch normalisation).
    Best computed outside autocast: the gradient runs through every layer twice.

    Args:
        scores_real: One map of scores per scale, [B, 1, H_s, W_s], computed from `image_real`.
        image_real: The pictures; they require gradients.

    Returns:
        At least 0. Its own gradient reaches the discriminator's weights (second derivatives).

    Raises:
        ValueError: the pictures do not require gradients, or no scale is given.
    """
    if not image_real.requires_grad:
        raise ValueError("R1 needs real pictures that require gradients: image.requires_grad_()")
    if not scores_real:
        raise ValueError("no scale of scores given")
    per_scale = torch.stack([full_precision(score).flatten(1).mean(dim=1) for score in scores_real])
    score_of_picture = per_scale.mean(dim=0)
    # Summed over samples, each picture's gradient is that of its own score.
    (gradient,) = torch.autograd.grad(score_of_picture.sum(), image_real, create_graph=True)
    return full_precision(gradient).square().flatten(1).sum(dim=1).mean()
