"""How far the expression code goes with the sound, on clips that were never trained on."""

from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from training.losses.decorrelation import standardised
from training.stages.stage import Figure

_SHIFTS: Final = 8
"""Rows by which the sounds are moved on for chance: the held-out rows run through the clips one by one, so a
moved sound is another clip's."""


@dataclass
class CorrelationTally:
    """Root mean square of Pearson's r over all pairs of an expression and an audio dimension.

    Chance is the same figure with every row's sound taken from another row: what expressions and sounds that
    have nothing to do with each other reach on just these clips. 1 / sqrt(N − 1) would be it for independent
    rows, and many rows of few people are not.
    """

    _expression: list[Tensor] = field(default_factory=list)
    _audio: list[Tensor] = field(default_factory=list)

    def add(self, expression: Tensor, audio: Tensor) -> None:
        """Count rows of F̄_e [B, E] and F_a [B, A]."""
        self._expression.append(expression.float().cpu())
        self._audio.append(audio.float().cpu())

    def figure(self) -> Figure:
        """The figure over all rows; without chance where there are too few for it."""
        z_e, z_a = standardised(torch.cat(self._expression)), standardised(torch.cat(self._audio))
        shifts = range(1, min(_SHIFTS, len(z_e) - 1) + 1)
        moved = [_root_mean_square(z_e, z_a.roll(shift, dims=0)) for shift in shifts]
        return Figure(
            name="expression-audio correlation",
            value=_root_mean_square(z_e, z_a),
            chance=sum(moved) / len(moved) if moved else None,
            higher_is_better=False,
            rows=len(z_e),
            decides=False,
        )


def _root_mean_square(z_e: Tensor, z_a: Tensor) -> float:
    return float((z_e.T @ z_a).square().mean().sqrt())
