"""Feature matching: generated and real images have the same feature maps in the discriminator."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from training.losses.distances import mean_absolute_difference


def feature_matching_loss(
    features_real: Sequence[Sequence[Float[Tensor, "_ _ _ _"]]],
    features_generated: Sequence[Sequence[Float[Tensor, "_ _ _ _"]]],
) -> Float[Tensor, ""]:
    """``L_FM = (1/S) Σ_s Σ_i (1/N_i) ||D_s,i(I_real) − D_s,i(I_generated)||₁``.

    Source: pix2pixHD (Wang et al. 2018), N_i the number of values of layer i. The mean over the S scales
    follows the code of pix2pixHD and PC-AVS (the printed formula sums). PC-AVS uses weight 10.

    Args:
        features_real: Per scale, per layer, [B, C, H, W]: the discriminator's maps of real images.
        features_generated: The same of generated images.

    Returns:
        At least 0; 0 for equal features. The real images' features get no gradient.

    Raises:
        ValueError: the numbers of scales or layers differ, there are none, or shapes differ.
    """
    layers_real = [len(scale) for scale in features_real]
    layers_generated = [len(scale) for scale in features_generated]
    if layers_real != layers_generated or not layers_real or min(layers_real) == 0:
        raise ValueError(f"layers per scale must match and be >= 1, got {layers_real} and {layers_generated}")
    differences = [
        mean_absolute_difference(real.detach(), generated)
        for scale_real, scale_generated in zip(features_real, features_generated, strict=True)
        for real, generated in zip(scale_real, scale_generated, strict=True)
    ]
    return torch.stack(differences).sum() / len(features_real)
