"""Gaze and blinks as parts of a change of the eye code, so that each can go a way of its own.

Shape letters: D width of the code. A change is a row: ``change @ map``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from training.engine.stage_weights import StageWeights
from training.stage_catalog import EYE_AXES_PART
from training.stages.eye_axes import EyeAxes


@dataclass(frozen=True, eq=False)
class EyeParts:
    """Maps [D, D] of a change of the eye code to the part that is gaze and to the part that is blinks.

    What is left of the change is neither.
    """

    gaze: Tensor
    blink: Tensor

    def strength(self, gaze: float, blink: float, rest: float) -> Tensor:
        """The map [D, D] by which each part goes by a strength of its own."""
        neither = torch.eye(len(self.gaze)) - self.gaze - self.blink
        return gaze * self.gaze + blink * self.blink + rest * neither


def parts_of_dimensions(width: int, gaze: Sequence[int], blink: Sequence[int]) -> EyeParts:
    """The parts where each dimension of the code says one thing alone."""
    maps = torch.zeros(2, width, width)
    for chosen, dimensions in zip(maps, (gaze, blink), strict=True):
        for dimension in dimensions:
            chosen[dimension, dimension] = 1.0
    return EyeParts(*maps.unbind())


OFFICIAL_EYE_PARTS: Final = parts_of_dimensions(6, gaze=(2, 3), blink=(0, 1, 4, 5))
"""Of the released networks, whose inference code uses these dimensions so."""


def measured_parts(stage2_eye: StageWeights) -> EyeParts | None:
    """The parts that a run's eye stage measured; None where it is of before it measured any.

    Raises:
        ValueError: what it left is not whole.
    """
    axes = stage2_eye.tensors.get(f"{EYE_AXES_PART}.code_mean")
    if axes is None:
        return None
    measured = EyeAxes(len(axes))
    stage2_eye.load_into(EYE_AXES_PART, measured)
    return EyeParts(*measured.parts())
