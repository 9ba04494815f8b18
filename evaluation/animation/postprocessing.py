"""What is done to codes between the encoders and the generator. Imports no torch: forms are made of it."""

import math
from dataclasses import dataclass
from typing import Final, Literal

Neutral = Literal["portrait", "zero"]


@dataclass(frozen=True)
class InferenceHabits:
    """The defaults do nothing.

    Raises:
        ValueError: a window is even or empty, or a sigma is negative.
    """

    lip_gain: float = 1.0
    eye_gain: float = 1.0
    expression_gain: float = 1.0
    lip_sigma_frames: float = 0.0  # of a Gaussian over three frames, zeros beyond both ends; 0: none
    pose_window_frames: int = 1  # mean over so many frames, fewer at both ends
    neutral: Neutral = "portrait"  # what a control left out is held at: the portrait's own code, or zeros

    def __post_init__(self) -> None:
        if self.pose_window_frames < 1 or self.pose_window_frames % 2 == 0 or self.lip_sigma_frames < 0:
            raise ValueError(
                f"pose_window_frames is {self.pose_window_frames}, need an odd number from 1; "
                f"lip_sigma_frames is {self.lip_sigma_frames}, need 0 or more"
            )

    def lip_weights(self) -> tuple[float, ...]:
        """Weights of the frames around a frame; their sum is 1."""
        if self.lip_sigma_frames == 0.0:
            return (1.0,)
        side = math.exp(-0.5 / self.lip_sigma_frames**2)
        return (side / (1 + 2 * side), 1 / (1 + 2 * side), side / (1 + 2 * side))


OFFICIAL_HABITS: Final = InferenceHabits(
    lip_gain=1.5,
    eye_gain=1.2,
    expression_gain=1.2,
    lip_sigma_frames=1.0,
    pose_window_frames=3,
    neutral="zero",
)
"""The released inference code's, but for the 80 ms by which its picture leads the sound."""
