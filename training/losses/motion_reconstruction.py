"""Motion reconstruction: the generated face moves as the driving one does (stage 1, and in L_con)."""

import torch
from jaxtyping import Float
from torch import Tensor

from training.losses.distances import full_precision


def motion_reconstruction_loss(
    phi_target: Float[Tensor, "B P"],
    phi_generated: Float[Tensor, "B P"],
    psi_target: Float[Tensor, "B Q"],
    psi_generated: Float[Tensor, "B Q"],
) -> Float[Tensor, ""]:
    """``L_mot = ||φ(I0) − φ(Ig)||₂ + ||ψ(I0) − ψ(Ig)||₂`` (PD-FGC, stage 1), the mean over the batch.

    Reading: Euclidean lengths per sample, not squared and not divided by the width, as printed.

    Args:
        phi_target: φ of the frames to be remade: a 3-D face reconstruction network's features.
        phi_generated: φ of the generated frames.
        psi_target: ψ of the frames to be remade: an emotion network's features.
        psi_generated: ψ of the generated frames.

    Returns:
        At least 0; 0 for equal features. The targets get no gradient.
    """
    return feature_distance(phi_target, phi_generated) + feature_distance(psi_target, psi_generated)


def feature_distance(target: Float[Tensor, "B D"], generated: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """``||target − generated||₂``, the mean over the batch; the target gets no gradient."""
    difference = full_precision(target.detach()) - full_precision(generated)
    return torch.linalg.vector_norm(difference, dim=1).mean()
