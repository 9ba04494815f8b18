"""Lip-motion decorrelation: the expression says nothing that the sound already says (stage 3)."""

from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from training.losses.distances import full_precision

CONSTANT_BELOW: Final = 1e-5
"""A dimension counts as constant where it spreads by less than this part of its size: what is left then
is float32's rounding (6e-8 for one value), whose correlation means nothing."""

DimensionPairs = Literal["all", "same"]


def decorrelation_loss(
    expression: Float[Tensor, "B E"],
    audio: Float[Tensor, "B A"],
    past_expression: Float[Tensor, "N E"],
    past_audio: Float[Tensor, "N A"],
    pairs: DimensionPairs = "all",
) -> Float[Tensor, ""]:
    """``L_decor = (1/D) Σ_D cor(F̄_e, F_a)²`` (PD-FGC, stage 3; printed with Σ over B, D).

    Reading. `cor` is Pearson's coefficient of one dimension of F̄_e with one of F_a, estimated over
    samples: B in the formula's sum is the axis that `cor` runs along. It cannot be a coefficient per
    sample, along its dimensions: those have no common order or unit, and the memory banks, which exist to
    give more samples to the estimate, would be of no use. Unverified: which dimensions are paired.
    ``"all"`` takes each of the one with each of the other (D = E · A coefficients), as codes of 30 and 500
    need, and because nothing ties dimension 7 of the expression to dimension 7 of the sound; ``"same"``
    takes equal numbers only (D = E = A), the formula at its most literal.

    Independent samples still give a mean square of 1 / (B + N − 1): the floor of the loss.

    Args:
        expression: F̄_e of the batch: means over the window, `training.losses.window.in_window_mean`.
        audio: F_a of the batch, the same samples.
        past_expression: F̄_e of earlier batches, from a `training.losses.memory_bank.MemoryBank`; N may be 0.
        past_audio: F_a of the same earlier samples, row by row.
        pairs: Which dimensions are compared.

    Returns:
        In [0, 1]. Only `expression` gets a gradient: the past is past, and the sound's code is the frozen
        one that expression has to leave alone. A dimension that does not vary correlates with nothing (0)
        and gets none; neither does a single sample.

    Raises:
        ValueError: ``"same"`` is asked for and the widths differ.
    """
    widths = (expression.shape[1], audio.shape[1])
    if pairs == "same" and widths[0] != widths[1]:
        raise ValueError(f"'same' pairs need expression and audio of one width, got {widths}")
    past = full_precision(past_expression.detach())
    z_e = standardised(torch.cat([full_precision(expression), past]))
    z_a = standardised(torch.cat([full_precision(audio), full_precision(past_audio)]).detach())
    if pairs == "same":
        return (z_e * z_a).sum(dim=0).square().mean()
    # Autocast would round the product to half precision.
    with torch.autocast(expression.device.type, enabled=False):
        return (z_e.T @ z_a).square().mean()


def standardised(samples: Float[Tensor, "S D"]) -> Float[Tensor, "S D"]:
    """Each dimension minus its mean, of length one over samples; zeros where it is constant.

    The product of two such columns is their Pearson correlation.
    """
    centred = samples - samples.mean(dim=0)
    length = torch.linalg.vector_norm(centred, dim=0)
    varies = length > CONSTANT_BELOW * torch.linalg.vector_norm(samples, dim=0)
    # Twice `where`: a division by zero in the branch not taken would still make its gradient NaN.
    return torch.where(varies, centred / torch.where(varies, length, 1.0), 0.0)
