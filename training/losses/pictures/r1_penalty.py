"""R1 gradient penalty of the discriminator on real images (Mescheder et al. 2018)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from training.losses.distances import full_precision


def r1_penalty(
    scores_real: Sequence[Float[Tensor, "B ..."]], image_real: Float[Tensor, "B C H W"]
) -> Float[Tensor, ""]:
    """``R1 = E[||∇_I D(I)||₂²]`` over real images.

    The usual weight is γ/2, set in `AdversarySettings`. D(I), one number per image, is the mean over patches
    and scales that the hinge losses use, so the usual γ of single-score discriminators does not carry over.
    Samples must not mix inside the discriminator (no batch normalisation). Best computed outside autocast: it
    differentiates twice through every layer.

    Args:
        scores_real: One map of scores per scale, [B, 1, H_s, W_s], computed from `image_real`.
        image_real: The images; they require gradients.

    Returns:
        At least 0. Its gradient reaches the discriminator's weights (second derivatives).

    Raises:
        ValueError: the images do not require gradients, or no scale is given.
    """
    if not image_real.requires_grad:
        raise ValueError("R1 needs images that require gradients: call image.requires_grad_()")
    if not scores_real:
        raise ValueError("no scale of scores given")
    per_scale = torch.stack([full_precision(score).flatten(1).mean(dim=1) for score in scores_real])
    score = per_scale.mean(dim=0)  # [B]
    # The gradient of the sum with respect to one image is that of its own score.
    (gradient,) = torch.autograd.grad(score.sum(), image_real, create_graph=True)
    return full_precision(gradient).square().flatten(1).sum(dim=1).mean()
