"""Decorrelation (stage 3): the expression code carries nothing that the audio carries."""

from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from training.losses.distances import full_precision

CONSTANT_BELOW: Final = 1e-5
"""A dimension counts as constant if its spread is below this fraction of its norm: the rest is float32
rounding (6e-8 for one value), whose correlation is meaningless."""

DimensionPairs = Literal["all", "same"]
Reduction = Literal["mean", "sum"]


def decorrelation_loss(
    expression: Float[Tensor, "B E"],
    audio: Float[Tensor, "B A"],
    past_expression: Float[Tensor, "N E"],
    past_audio: Float[Tensor, "N A"],
    pairs: DimensionPairs = "all",
    reduction: Reduction = "mean",
) -> Float[Tensor, ""]:
    """``L_decor = (1/D) Σ_D cor(F̄_e, F_a)²`` (PD-FGC, stage 3; printed with Σ over B, D).

    Reading: `cor` is Pearson's coefficient of one dimension of F̄_e with one of F_a, estimated over samples,
    so B in the formula's sum is the axis along which `cor` is computed. A coefficient per sample, along its
    dimensions, would mix dimensions without common order or unit, and would not need memory banks, which
    exist to give the estimate more samples. Unverified: which dimensions are paired. ``"all"`` pairs each
    with each (D = E · A coefficients), which works for codes of widths 30 and 500, and since nothing relates
    dimension 7 of the expression to dimension 7 of the audio; ``"same"`` pairs equal indices only (D = E =
    A), the literal formula.

    Unverified as well: the factor. The printed 1/D makes a mean of the coefficients (``"mean"``); summed over
    B and D as printed, with 1/D for another size, it may be as large as their sum (``"sum"``), D times that.

    Independent samples give a mean square of 1 / (B + N − 1), the floor of the loss.

    The gradient is that of the formula times (B + N) / B. A row's part in the estimate, and with it the true
    gradient, falls as 1 / (B + N): with large memory banks the loss would have next to no weight.

    Args:
        expression: F̄_e of the batch, from `in_window_mean`.
        audio: F_a of the batch, the same samples.
        past_expression: F̄_e of earlier batches, from a `MemoryBank`; N may be 0.
        past_audio: F_a of the same earlier samples, row by row.
        pairs: Which dimensions are paired.
        reduction: Of the D coefficients.

    Returns:
        In [0, 1], or [0, D] for ``"sum"``. Only `expression` gets a gradient. A constant dimension has
        correlation 0 and gets no gradient, and neither does a single sample.

    Raises:
        ValueError: ``"same"`` with different widths.
    """
    widths = (expression.shape[1], audio.shape[1])
    if pairs == "same" and widths[0] != widths[1]:
        raise ValueError(f"'same' pairs need expression and audio of the same width, got {widths}")
    past = full_precision(past_expression.detach())
    z_e = standardised(torch.cat([full_precision(expression), past]))
    z_a = standardised(torch.cat([full_precision(audio), full_precision(past_audio)]).detach())
    # Autocast would round the product to half precision.
    with torch.autocast(expression.device.type, enabled=False):
        squares = ((z_e * z_a).sum(dim=0) if pairs == "same" else z_e.T @ z_a).square()
    loss = squares.mean() if reduction == "mean" else squares.sum()
    # The difference is 0: it changes the gradient only.
    return loss.detach() + len(z_e) / len(expression) * (loss - loss.detach())


def in_window_mean(features: Float[Tensor, "B K D"]) -> Float[Tensor, "B D"]:
    """``F̄_e = (1/K) Σ_k F_e,k``, the mean over the K frames of a window (PD-FGC, stage 3).

    Lips move within the window and expression hardly does, so the mean keeps the expression. Unverified: K.

    Args:
        features: Expression features of the K frames of each window, each frame augmented independently.

    Returns:
        In float32 at least. Every frame gets a gradient.

    Raises:
        ValueError: the windows are empty.
    """
    if features.shape[1] == 0:
        raise ValueError(f"a window needs at least 1 frame, got features {list(features.shape)}")
    return torch.mean(full_precision(features), dim=1)


def standardised(samples: Float[Tensor, "S D"]) -> Float[Tensor, "S D"]:
    """Each dimension centred and scaled to unit length over samples; zeros where it is constant.

    The inner product of two such columns is their Pearson correlation.
    """
    centred = samples - samples.mean(dim=0)
    length = torch.linalg.vector_norm(centred, dim=0)
    varies = length > CONSTANT_BELOW * torch.linalg.vector_norm(samples, dim=0)
    # `where` twice: a division by zero in the branch not taken would still give a NaN gradient.
    return torch.where(varies, centred / torch.where(varies, length, 1.0), 0.0)
