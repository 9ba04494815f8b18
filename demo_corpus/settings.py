"""What the demo corpus holds: its settings, and what a video of it is."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preprocessing.schema import FRAMES_PER_SECOND


@dataclass(frozen=True)
class CorpusSettings:
    """What the demo corpus holds. The same settings give the same bytes."""

    seed: int = 0
    """Of everything drawn by lot."""
    identities: int = 12
    """Talking heads; beyond the portraits there are, mirrored and re-shaped ones."""
    videos_per_identity: int = 2
    seconds_per_video: float = 8.0
    side_px: int = 384
    """Side of the square videos, even."""
    portraits: tuple[Path, ...] = ()
    """Own portraits, one face each, instead of the bundled ones."""
    workers: int | None = None
    """Processes; 0 works in this one, None takes a process a core. No effect on the videos."""

    def __post_init__(self) -> None:
        if self.identities < 1 or self.videos_per_identity < 1:
            raise ValueError(
                f"{self.identities} identities x {self.videos_per_identity} videos: need at least 1 of each"
            )
        if not 0.2 <= self.seconds_per_video <= 600:
            raise ValueError(f"seconds_per_video is {self.seconds_per_video}, need 0.2 to 600")
        if self.side_px % 2 or not 64 <= self.side_px <= 2048:
            raise ValueError(f"side_px is {self.side_px}, need an even number from 64 to 2048")


@dataclass(frozen=True)
class CorpusVideo:
    """One video of the corpus."""

    identity: str
    video: Path
    truth: Path


def frame_times(seconds: float) -> NDArray[np.float64]:
    """[T] the instants that a video's frames show, seconds."""
    return np.arange(round(seconds * FRAMES_PER_SECOND)) / FRAMES_PER_SECOND
