"""What the demo corpus holds: its settings, and what a video of it is."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.schema import FRAMES_PER_SECOND
from storage.settings import Settings


class CorpusSettings(Settings):
    """What the demo corpus holds. The same settings give the same bytes."""

    seed: int = Field(default=0, ge=0, description="Of everything drawn by lot")
    identities: int = Field(
        default=12,
        ge=1,
        description="Talking heads; beyond the portraits there are, mirrored and re-shaped ones",
    )
    videos_per_identity: int = Field(default=2, ge=1)
    seconds_per_video: float = Field(default=8.0, ge=0.2, le=600)
    side_px: int = Field(
        default=384, ge=64, le=2048, multiple_of=2, description="Side of the square videos, even"
    )
    portraits: tuple[Path, ...] = Field(
        default=(), description="Own portraits, one face each, instead of the bundled ones"
    )
    workers: int | None = Field(
        default=None,
        ge=0,
        description="Processes; 0 works in this one, None takes a process a core. No effect on the videos",
    )


@dataclass(frozen=True)
class CorpusVideo:
    """One video of the corpus."""

    identity: str
    video: Path
    truth: Path


def frame_times(seconds: float) -> NDArray[np.float64]:
    """[T] the instants that a video's frames show, seconds."""
    return np.arange(round(seconds * FRAMES_PER_SECOND)) / FRAMES_PER_SECOND
