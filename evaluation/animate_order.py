"""What a person asks of `animate`, and what they are told. Imports no torch: forms are made of it."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from evaluation.inference_habits import Neutral

Device = Literal["auto", "cpu", "cuda"]
OfficialNetworkPreset = Literal["official", "tiny"]
LARGEST_STRENGTH: Final = 5.0  # the codes of no face lie farther off


@dataclass(frozen=True)
class Strengths:
    """How far each control goes from neutral (0) to its driver (1) and beyond.

    Raises:
        ValueError: one is not within 0 to 5.
    """

    lip: float = field(
        default=1.0, metadata={"description": "Lips: 0 as in silence, 1 as the sound says, more exaggerates"}
    )
    pose: float = field(
        default=1.0, metadata={"description": "Head pose: 0 neutral, 1 the driver's, more exaggerates"}
    )
    eye: float = field(default=1.0, metadata={"description": "The same of gaze and blinks"})
    expression: float = field(default=1.0, metadata={"description": "The same of expression"})
    gaze: float | None = field(
        default=None, metadata={"description": "Gaze alone, in place of eye; released checkpoints only"}
    )
    blink: float | None = field(
        default=None, metadata={"description": "Blinks alone, in place of eye; released checkpoints only"}
    )

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        wrong = {name: value for name, value in given.items() if not 0.0 <= value <= LARGEST_STRENGTH}
        if wrong:
            raise ValueError(f"strengths go from 0 to {LARGEST_STRENGTH:g}, got {wrong}")


@dataclass(frozen=True)
class AnimateOrder:
    """One portrait, up to four drivers, one video.

    Raises:
        ValueError: the output is one of the inputs, or is no mp4, or another value is out of its bounds.
    """

    appearance: Path  # a still; of a video the first face counts
    output: Path
    lip: Path | None = None  # a sound file, or a video's sound
    pose: Path | None = None  # a video or a still, as the next two
    eye: Path | None = None
    expression: Path | None = None
    checkpoint: str = "default"  # a training run, or a folder of the released files
    grid: Path | None = None  # the side-by-side video
    strengths: Strengths = Strengths()
    seconds: float | None = None  # length of the video; None: the sound's, else the longest driver's
    device: Device = "auto"
    official_habits: bool | None = None  # None: on for the released files, off for our own
    neutral: Neutral | None = None  # None: as the habits say
    official_networks: OfficialNetworkPreset = "official"
    frames_at_once: int = 16

    def __post_init__(self) -> None:
        inputs = {path.absolute().resolve() for path in self.inputs()}
        outputs = [path for path in (self.output, self.grid) if path is not None]
        for path in outputs:
            if path.suffix.lower() != ".mp4":
                raise ValueError(f"{path}: what is written is mp4; end the name with .mp4")
            if path.absolute().resolve() in inputs:
                raise ValueError(f"{path} is one of the inputs; write elsewhere")
        if len({path.absolute().resolve() for path in outputs}) < len(outputs):
            raise ValueError(f"{self.output} cannot hold both the video and the grid")
        if self.frames_at_once < 1 or not 0.0 < (1.0 if self.seconds is None else self.seconds) < math.inf:
            raise ValueError(f"seconds {self.seconds} and frames_at_once {self.frames_at_once} are above 0")

    def inputs(self) -> tuple[Path, ...]:
        """Every file that is read, each once, in the order of the fields."""
        given = (self.appearance, self.lip, *self.face_drivers().values())
        return tuple(dict.fromkeys(path for path in given if path is not None))

    def face_drivers(self) -> dict[str, Path]:
        """The drivers that show a face, by control, without those left out."""
        drivers = {"pose": self.pose, "eye": self.eye, "expression": self.expression}
        return {name: path for name, path in drivers.items() if path is not None}


@dataclass(frozen=True)
class AnimateProgress:
    """How far it is."""

    step: str
    done: int  # frames
    total: int | None  # None: not known yet


@dataclass(frozen=True)
class AnimateReport:
    """What was made."""

    output: Path
    grid: Path | None
    checkpoint: str
    frames: int
    side_px: int
    seconds: float  # of video
    wall_seconds: float
    notes: tuple[str, ...]  # what a person should know, a sentence each
