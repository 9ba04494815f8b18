"""A portrait moved by hand: encoded once, then only the generator runs for each position.

The pose code of a run is the pose in units of its own (`training.losses.codes.pose.PoseScale`). The unit of
its angles is measured on the portrait, turned in the picture by a known angle; head angles are then added to
the portrait's code. Gaze and lids are added along the directions of the eye code that the run's eye stage
measured (`EyeParts.moves`).
"""

from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from evaluation.animation.rendering import neutral_codes
from evaluation.animation.talking_head import TalkingHead
from models.style_vector import StyleVector
from storage.settings import Settings

LARGEST_ANGLE_DEGREES: Final = 40.0
LARGEST_GAZE_DEGREES: Final = 35.0
TURN_DEGREES: Final = 10.0  # by which the portrait is turned to measure the unit
FEWEST_UNITS: Final = 0.2
"""Per rad, ours; presets have 1 or 5. Below, the code does not read the head's roll."""


class PuppetPosition(Settings):
    """Where the head and the eyes are moved to, relative to the portrait.

    Signs as in `preprocessing.faces.shape.frame_of_reference`.

    Raises:
        ValueError: a value is not within its bounds.
    """

    pitch: float = Field(
        default=0.0, ge=-LARGEST_ANGLE_DEGREES, le=LARGEST_ANGLE_DEGREES, description="Degrees"
    )
    yaw: float = Field(
        default=0.0, ge=-LARGEST_ANGLE_DEGREES, le=LARGEST_ANGLE_DEGREES, description="Degrees"
    )
    roll: float = Field(
        default=0.0, ge=-LARGEST_ANGLE_DEGREES, le=LARGEST_ANGLE_DEGREES, description="Degrees"
    )
    gaze_pitch: float = Field(
        default=0.0, ge=-LARGEST_GAZE_DEGREES, le=LARGEST_GAZE_DEGREES, description="Degrees"
    )
    gaze_yaw: float = Field(
        default=0.0, ge=-LARGEST_GAZE_DEGREES, le=LARGEST_GAZE_DEGREES, description="Degrees"
    )
    lids: float = Field(
        default=0.0, ge=-0.5, le=1.0, description="0 as in the portrait, 1 shut, below 0 wider"
    )
    strength: float = Field(default=1.0, ge=0.0, le=2.0, description="Factor of all movements")


class Puppet:
    """A portrait that a talking head moves. Not thread-safe.

    Args:
        head: Of a training run, or exported: the released networks' codes have other units.
        portrait: Aligned crop uint8 [224, 224, 3].

    Raises:
        ValueError: the head's eye stage did not separate gaze and blinks, it is the released one, or its pose
            code does not read how a head is turned.
    """

    def __init__(self, head: TalkingHead, portrait: NDArray[np.uint8]) -> None:
        if head.eye_parts is None or head.eye_parts.moves is None:
            raise ValueError(
                f"{head.name}: the puppet needs a run whose stage2_eye measured gaze and blinks; choose "
                "starter or another run"
            )
        self._head, self._units_per_rad = head, angle_units(head, portrait)
        self._moves = head.eye_parts.moves.to(head.device)
        self._appearance = head.appearance(portrait)
        self._codes = neutral_codes(head, portrait)

    @torch.inference_mode()
    def render(self, position: PuppetPosition) -> NDArray[np.uint8]:
        """The portrait at a position, uint8 [S, S, 3] RGB."""
        codes, device = dict(self._codes), self._head.device
        angles = torch.deg2rad(torch.tensor([position.pitch, position.yaw, position.roll], device=device))
        pose = codes["pose"].clone()
        pose[:3] += position.strength * self._units_per_rad * angles
        gaze = torch.deg2rad(torch.tensor([position.gaze_pitch, position.gaze_yaw], device=device))
        labels = torch.cat([gaze, torch.tensor([position.lids], device=device)])
        codes |= {"pose": pose, "eye": codes["eye"] + position.strength * (labels @ self._moves)}
        style = StyleVector(self._appearance.code, **{name: code[None] for name, code in codes.items()})
        return self._head.render(style, self._appearance)[0]


def angle_units(head: TalkingHead, portrait: NDArray[np.uint8]) -> float:
    """Units of the pose code per rad: the change of its roll between the portrait turned either way.

    Raises:
        ValueError: it hardly changes.
    """
    side = portrait.shape[0]
    turned = [
        np.asarray(
            cv2.warpAffine(
                portrait,
                cv2.getRotationMatrix2D((side / 2, side / 2), degrees, 1.0),
                (side, side),
                borderMode=cv2.BORDER_REPLICATE,
            ),
            np.uint8,
        )
        for degrees in (TURN_DEGREES, -TURN_DEGREES)
    ]
    roll = head.motion(turned).pose[:, 2]
    units = abs(float(roll[0] - roll[1])) / float(np.radians(2 * TURN_DEGREES))
    if units < FEWEST_UNITS:
        raise ValueError(f"{head.name}: its pose code does not read how a head is turned; train it longer")
    return units
