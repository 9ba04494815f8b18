"""In-window decorrelation: one expression feature for a window of frames (stage 3)."""

import torch
from jaxtyping import Float
from torch import Tensor

from training.losses.distances import full_precision


def in_window_mean(features: Float[Tensor, "B K D"]) -> Float[Tensor, "B D"]:
    """``F̄_e = (1/K) Σ_k F_e,k``: what K frames around the driving one share (PD-FGC, stage 3).

    Lips move within the window and expression hardly does, so the mean keeps the second. Unverified: K.

    Args:
        features: Expression features of the K frames of each window, each frame augmented by itself.

    Returns:
        The driving frames' expression features, float32 at least. Every frame gets a gradient.

    Raises:
        ValueError: the windows are empty.
    """
    if features.shape[1] == 0:
        raise ValueError(f"a window needs a frame, got features {list(features.shape)}")
    return torch.mean(full_precision(features), dim=1)
