"""Postprocessing of codes between the encoders and the generator. Imports no torch."""

import math
from typing import Final, Literal

from pydantic import Field, model_validator

from storage.settings import Settings

Neutral = Literal["portrait", "zero"]


class PostprocessingConfig(Settings):
    """Gains and smoothing of codes; the defaults change nothing.

    Raises:
        ValueError: a window is even or empty, or a sigma is negative.
    """

    lip_gain: float = 1.0
    eye_gain: float = 1.0
    expression_gain: float = 1.0
    lip_sigma_frames: float = Field(
        default=0.0,
        ge=0,
        description="Sigma of a Gaussian over three frames, zero beyond both ends; 0: no smoothing",
    )
    pose_window_frames: int = Field(
        default=1, ge=1, description="Odd number of frames averaged, fewer at both ends"
    )
    neutral: Neutral = Field(
        default="portrait",
        description="Value of controls without a driver: the portrait's code, or zeros",
    )

    @model_validator(mode="after")
    def _check_window(self) -> "PostprocessingConfig":
        if self.pose_window_frames % 2 == 0:
            raise ValueError(f"pose_window_frames must be odd, got {self.pose_window_frames}")
        return self

    def lip_weights(self) -> tuple[float, ...]:
        """Weights of a frame and its neighbours; their sum is 1."""
        if self.lip_sigma_frames == 0.0:
            return (1.0,)
        side = math.exp(-0.5 / self.lip_sigma_frames**2)
        return (side / (1 + 2 * side), 1 / (1 + 2 * side), side / (1 + 2 * side))


OFFICIAL_POSTPROCESSING: Final = PostprocessingConfig(
    lip_gain=1.5,
    eye_gain=1.2,
    expression_gain=1.2,
    lip_sigma_frames=1.0,
    pose_window_frames=3,
    neutral="zero",
)
"""That of the released inference code, except that its pictures lead the sound by 80 ms."""
