"""Motion reconstruction (stage 1, and in L_con): the generated face moves as the driving face does.

``L_mot = ||φ(I0) − φ(Ig)||₂ + ||ψ(I0) − ψ(Ig)||₂`` (PD-FGC), φ the features of a 3-D face reconstruction
network, ψ those of an emotion network. The stages weight and log the two terms separately.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from training.losses.distances import full_precision


def feature_distance(target: Float[Tensor, "B D"], generated: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """``||f(I0) − f(Ig)||₂``, the mean over the batch; one term of L_mot.

    Reading: Euclidean norms per sample, not squared and not divided by the width, as printed.

    Args:
        target: features of the driving frames; they get no gradient.
        generated: features of the generated frames.

    Returns:
        At least 0; 0 for equal features.
    """
    difference = full_precision(target.detach()) - full_precision(generated)
    return torch.linalg.vector_norm(difference, dim=1).mean()
