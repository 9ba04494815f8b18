"""Request, progress and report of `animate`. Imports no torch: forms and the command line use it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, model_validator

from evaluation.animation.postprocessing import Neutral
from storage.settings import Settings

Device = Literal["auto", "cpu", "cuda"]
OfficialNetworkPreset = Literal["official", "tiny"]
LARGEST_STRENGTH: Final = 5.0  # no face's codes are farther from neutral


class Strengths(Settings):
    """How far each control goes from neutral (0) to its driver (1) and beyond.

    Raises:
        ValueError: a strength is not within 0 to 5.
    """

    lip: float = Field(
        default=1.0,
        ge=0,
        le=LARGEST_STRENGTH,
        description="Lip strength: 0 as in silence, 1 as in the audio, more exaggerates",
    )
    pose: float = Field(
        default=1.0,
        ge=0,
        le=LARGEST_STRENGTH,
        description="Pose strength: 0 neutral, 1 the driver's, more exaggerates",
    )
    eye: float = Field(
        default=1.0,
        ge=0,
        le=LARGEST_STRENGTH,
        description="Gaze and blink strength: 0 neutral, 1 the driver's, more exaggerates",
    )
    expression: float = Field(
        default=1.0,
        ge=0,
        le=LARGEST_STRENGTH,
        description="Expression strength: 0 neutral, 1 the driver's, more exaggerates",
    )
    gaze: float | None = Field(
        default=None,
        ge=0,
        le=LARGEST_STRENGTH,
        description="Gaze strength alone, in place of eye; needs a run that measured it",
    )
    blink: float | None = Field(
        default=None,
        ge=0,
        le=LARGEST_STRENGTH,
        description="Blink strength alone, in place of eye; needs a run that measured it",
    )


class AnimateRequest(Settings):
    """One portrait, up to four drivers, one video.

    Raises:
        ValueError: an output is one of the inputs or is not .mp4, or a value is out of its bounds.
    """

    appearance: Path = Field(description="Portrait: a picture with one face")
    output: Path = Field(description="Video to write (.mp4)")
    lip: Path | None = Field(
        default=None, description="Audio that drives the lips: an audio file, or a video with audio"
    )
    pose: Path | None = Field(default=None, description="Driver of the head pose: a video or a picture")
    eye: Path | None = Field(default=None, description="Driver of gaze and blinks: a video or a picture")
    expression: Path | None = Field(
        default=None, description="Driver of the expression: a video or a picture"
    )
    checkpoint: str = Field(
        default="",
        description="A training run, starter or another exported model (.safetensors), pdfgc_official (of "
        "`pdfgc weights`), or a folder with the released files; empty: run default if it is trained, else "
        "the starter model",
    )
    grid: Path | None = Field(
        default=None, description="Also write portrait, result and drivers side by side (.mp4)"
    )
    strengths: Strengths = Field(
        default=Strengths(), description="How far each control goes from neutral to its driver"
    )
    seconds: float | None = Field(
        default=None, gt=0, description="Length; default: that of the audio, else of the longest driver"
    )
    official_postprocessing: bool | None = Field(
        default=None,
        description="Use the gains and smoothing of the released code; default: for the released files only",
    )
    neutral: Neutral | None = Field(
        default=None,
        description="Value of controls without a driver: the portrait's, or zero; default: zero for the "
        "released files, else portrait",
    )
    device: Device = Field(default="auto", description="Device; auto: the GPU if there is one")
    official_networks: OfficialNetworkPreset = "official"
    frames_at_once: int = Field(default=16, ge=1)

    @model_validator(mode="after")
    def _check_paths(self) -> "AnimateRequest":
        inputs = {path.absolute().resolve() for path in self.inputs()}
        outputs = [path for path in (self.output, self.grid) if path is not None]
        for path in outputs:
            if path.is_dir():
                raise ValueError(f"{path} is a folder; name a file in it, such as {path / 'video.mp4'}")
            if path.suffix.lower() != ".mp4":
                raise ValueError(f"{path}: output files must end in .mp4")
            if path.absolute().resolve() in inputs:
                raise ValueError(f"{path} is one of the inputs; choose another output")
        if len({path.absolute().resolve() for path in outputs}) < len(outputs):
            raise ValueError(f"output and grid are the same file: {self.output}")
        return self

    def inputs(self) -> tuple[Path, ...]:
        """Every input file once, in the order of the fields."""
        given = (self.appearance, self.lip, *self.face_drivers().values())
        return tuple(dict.fromkeys(path for path in given if path is not None))

    def face_drivers(self) -> dict[str, Path]:
        """Given drivers that show a face, by control."""
        drivers = {"pose": self.pose, "eye": self.eye, "expression": self.expression}
        return {name: path for name, path in drivers.items() if path is not None}


@dataclass(frozen=True)
class AnimateProgress:
    """Progress of one step of `animate`."""

    step: str
    done: int  # frames
    total: int | None  # None: not yet known


@dataclass(frozen=True)
class AnimateReport:
    """Result of `animate`."""

    output: Path
    grid: Path | None
    checkpoint: str
    frames: int
    side_px: int
    seconds: float  # of video
    wall_seconds: float
    notes: tuple[str, ...]  # sentences about frames without a driver
