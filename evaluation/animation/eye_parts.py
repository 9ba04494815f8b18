"""Gaze and blinks as parts of a change of the eye code, so that each can be scaled separately.

Shape letters: D width of the code. A change is a row vector: ``change @ matrix``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from training.engine.stage_weights import StageWeights
from training.stage_catalog import EYE_AXES_PART
from training.stages.codes.eye_axes import BLINK, GAZE, EyeAxes


@dataclass(frozen=True, eq=False)
class EyeParts:
    """Projections [D, D] of a change of the eye code onto gaze and onto blinks; the rest is neither.

    moves [3, D]: change of code per rad of gaze pitch and yaw, and per blink of both eyes; None if unknown.
    """

    gaze: Tensor
    blink: Tensor
    moves: Tensor | None = None

    def strength(self, gaze: float, blink: float, rest: float) -> Tensor:
        """The matrix [D, D] that scales each part by its strength."""
        neither = torch.eye(len(self.gaze)) - self.gaze - self.blink
        return gaze * self.gaze + blink * self.blink + rest * neither


def parts_of_dimensions(width: int, gaze: Sequence[int], blink: Sequence[int]) -> EyeParts:
    """The parts if each dimension of the code belongs to one of them."""
    maps = torch.zeros(2, width, width)
    for chosen, dimensions in zip(maps, (gaze, blink), strict=True):
        for dimension in dimensions:
            chosen[dimension, dimension] = 1.0
    return EyeParts(*maps.unbind())


OFFICIAL_EYE_PARTS: Final = parts_of_dimensions(6, gaze=(2, 3), blink=(0, 1, 4, 5))
"""Of the released networks, as their inference code uses the dimensions."""


def measured_parts(stage2_eye: StageWeights) -> EyeParts | None:
    """The parts that a run's eye stage measured; None if it measured none.

    Raises:
        ValueError: they are incomplete.
    """
    axes = stage2_eye.tensors.get(f"{EYE_AXES_PART}.code_mean")
    if axes is None:
        return None
    measured = EyeAxes(len(axes))
    stage2_eye.load_into(EYE_AXES_PART, measured)
    per_unit = measured.axes / measured.label_deviation[:, None]
    moves = torch.cat([per_unit[GAZE], per_unit[BLINK].sum(dim=0, keepdim=True)])
    return EyeParts(*measured.parts(), moves)
