"""How well lips and sound fit, from their embeddings: LSE-D, LSE-C and the offset, for any scorer.

Shape letters: n instants, one a frame at 25 frames a second; D width of an embedding.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from preprocessing.audio.lip_sync_distance import (
    MAXIMUM_SHIFT_FRAMES,
    SHIFT_COUNT,
    Beyond,
    distances_by_shift,
)

VIDEO_SIDE_PX: Final = 224


@runtime_checkable
class LipSyncScorer(Protocol):
    """Something that embeds pictures and sound into one space; the rest of the chain is shared."""

    @property
    def name(self) -> str:
        """Stands in every row; figures of different scorers never share a column."""
        ...

    def embed_frames(self, frames: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed a clip's pictures; the clip is read once, as a stream.

        Args:
            frames: Each [224, 224, 3] RGB, 25 a second.

        Returns:
            [n, D]; row t begins with frame t. Less than the scorer needs: no row.
        """
        ...

    def embed_sound(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed a clip's sound.

        Args:
            samples: [640 a frame] mono at 16 kHz in [-1, 1], beginning with frame 0.

        Returns:
            [n, D]; row t is what fits row t of the pictures where lips and sound are in step.
        """
        ...


@dataclass(frozen=True)
class LipSyncScore:
    """One video's figures.

    Attributes:
        scorer: Whose embeddings.
        protocol: What was shown to it: `frame`, `track` or `crop`.
        lse_c: Confidence: median over shifts minus minimum; higher is better.
        lse_d: Distance: minimum over shifts; lower is better.
        offset_frames: 15 - argmin, in -15 to 15: positive where the sound is early, so that pictures fit
            sound of that many frames before.
        distances_by_shift: [31] mean distance of the pictures from the sound s frames later, s = -15 to 15.
        frames: Instants that were compared: n.
    """

    scorer: str
    protocol: str
    lse_c: float
    lse_d: float
    offset_frames: int
    distances_by_shift: tuple[float, ...]
    frames: int

    def __post_init__(self) -> None:
        if len(self.distances_by_shift) != SHIFT_COUNT:
            raise ValueError(f"need {SHIFT_COUNT} distances, got {len(self.distances_by_shift)}")


@dataclass(frozen=True)
class NotScored:
    """A video without figures, and why: never a zero.

    Attributes:
        scorer: Who would have scored.
        protocol: By which protocol.
        reason: Short stable code, fit for counting: `too_short`, `no_sound`, `no_face` or another reason of
            `preprocessing.media.container.RefusedVideo`.
        detail: One sentence for a person, with the figures.
    """

    scorer: str
    protocol: str
    reason: str
    detail: str


def score_embeddings(
    scorer: str,
    protocol: str,
    video: NDArray[np.float32],
    sound: NDArray[np.float32],
    beyond: Beyond = "zeros",
) -> LipSyncScore | NotScored:
    """LSE-C, LSE-D and offset of embedded pictures and sound.

    Args:
        scorer: For the row.
        protocol: For the row.
        video: [n, D]; row t begins with frame t.
        sound: [m, D]; of the longer one the rest is left.
        beyond: As `distances_by_shift`; the protocol's.

    Returns:
        The figures; `too_short` where either has no row.

    Raises:
        ValueError: the embeddings are no tables of one width, or not finite.
    """
    if video.ndim != 2 or sound.ndim != 2 or video.shape[1] != sound.shape[1]:
        raise ValueError(
            f"need embeddings [n, D] and [m, D], got {list(video.shape)} and {list(sound.shape)}"
        )
    count = min(len(video), len(sound))
    if count == 0:
        detail = f"{len(video)} windows of pictures and {len(sound)} of sound; need one of each"
        return NotScored(scorer, protocol, "too_short", detail)
    distances = distances_by_shift(video[:count], sound[:count], beyond)
    if not np.isfinite(distances).all():
        raise ValueError(f"{scorer} gave embeddings that are not finite: are these its weights?")
    nearest = int(np.argmin(distances))
    return LipSyncScore(
        scorer=scorer,
        protocol=protocol,
        lse_c=float(np.median(distances) - distances[nearest]),
        lse_d=float(distances[nearest]),
        offset_frames=MAXIMUM_SHIFT_FRAMES - nearest,
        distances_by_shift=tuple(float(distance) for distance in distances),
        frames=count,
    )
