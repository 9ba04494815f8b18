"""Constants that give the style vector's motion codes comparable effects on the generator."""

import math
from typing import Final

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from models.style_vector import StyleVector
from storage.settings import Settings

CODE_SCALE_PART: Final = "code_scale"
"""Part of stage 3's weights."""


class CodeShares(Settings):
    """Standard deviation of what each code adds to a modulation factor before stage 3's first step.

    The style vector's codes have no common unit: unscaled, the released layout's eye and pose codes change a
    factor by less than .01, and are learned last. The codes are scaled by constants measured on training
    frames, which are saved with the weights. The expression's is the smallest, so that it does not take over
    what other codes carry. 0 leaves a code as it is, as the released networks do.
    """

    lip: float = Field(default=0.3, ge=0)
    expression: float = Field(default=0.1, ge=0)
    eye: float = Field(default=0.3, ge=0)
    pose: float = Field(default=0.3, ge=0)


UNSCALED: Final = CodeShares(lip=0.0, expression=0.0, eye=0.0, pose=0.0)


class CodeScale(nn.Module):
    """One factor per motion code, a buffer that is saved with the weights; 1 before `measure`."""

    def __init__(self) -> None:
        super().__init__()
        self.factors = nn.Buffer(torch.ones(len(MOTION_CODES)))

    @override
    def forward(self, style: StyleVector) -> StyleVector:
        """The style vector with its motion codes scaled."""
        codes = style.codes()
        for name, factor in zip(MOTION_CODES, self.factors, strict=True):
            codes[name] = codes[name] * factor.to(codes[name].dtype)
        return StyleVector(**codes)

    @torch.no_grad()
    def measure(self, styles: StyleVector, shares: CodeShares) -> None:
        """Set the factors so that codes like these, unscaled, have the given shares.

        A modulation factor is a linear function of the vector with weights of variance 1 / width, so a code
        adds a standard deviation of √(Σ_d var(code_d) / width). A constant code keeps factor 1.
        """
        codes = styles.codes()
        width = styles.to_vector().shape[1]
        for number, name in enumerate(MOTION_CODES):
            share: float = getattr(shares, name)
            spread = math.sqrt(float(codes[name].var(dim=0, correction=0).sum()) / width)
            self.factors[number] = share / spread if share and spread > SMALLEST_SPREAD else 1.0

    def factor(self, code: str) -> Tensor:
        """The factor of one code, a scalar."""
        return self.factors[MOTION_CODES.index(code)]

    def line(self) -> str:
        """The factors in one line of text."""
        values = zip(MOTION_CODES, self.factors.tolist(), strict=True)
        return ", ".join(f"{name} {value:.3g}" for name, value in values)


MOTION_CODES: Final = ("lip", "expression", "eye", "pose")
SMALLEST_SPREAD: Final = 1e-3
"""Of a code that is scaled; a head that has collapsed would have its rounding amplified."""
