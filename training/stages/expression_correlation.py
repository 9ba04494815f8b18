"""How far the expression code goes with the sound, on clips that were never trained on."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.losses.decorrelation import standardised
from training.stages.stage import Figure


@dataclass
class CorrelationTally:
    """Root mean square of Pearson's r over all pairs of an expression and an audio dimension.

    Independent samples still give about 1 / sqrt(N − 1): that floor stands as chance, for reading, not for
    beating.
    """

    _expression: list[Tensor] = field(default_factory=list)
    _audio: list[Tensor] = field(default_factory=list)

    def add(self, expression: Tensor, audio: Tensor) -> None:
        """Count rows of F̄_e [B, E] and F_a [B, A]."""
        self._expression.append(expression.float().cpu())
        self._audio.append(audio.float().cpu())

    def figure(self) -> Figure:
        """The figure over all rows."""
        z_e, z_a = standardised(torch.cat(self._expression)), standardised(torch.cat(self._audio))
        rows = len(z_e)
        return Figure(
            name="expression-audio correlation",
            value=float((z_e.T @ z_a).square().mean().sqrt()),
            chance=1 / math.sqrt(max(1, rows - 1)),
            higher_is_better=False,
            rows=rows,
            decides=False,
        )
