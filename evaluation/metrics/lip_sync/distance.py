"""LSE-D, LSE-C and offset between lips and sound, from the embeddings of any scorer.

Shape letters: n windows, one for each frame at 25 fps; D width of an embedding.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.metric import Measurement, Metric, MetricWeights
from preprocessing.audio.lip_sync_distance import (
    MAXIMUM_SHIFT_FRAMES,
    SHIFT_COUNT,
    Beyond,
    distances_by_shift,
)

VIDEO_SIDE_PX: Final = 224


@runtime_checkable
class LipSyncScorer(Protocol):
    """Embeds pictures and sound into one space; everything after that is shared by all scorers."""

    @property
    def name(self) -> str:
        """Written to every record; values of different scorers are never averaged together."""
        ...

    def embed_frames(self, frames: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed the pictures of a clip, read once as a stream.

        Args:
            frames: Each [224, 224, 3] RGB, at 25 fps.

        Returns:
            [n, D]; row t begins with frame t. No rows if there are too few frames.
        """
        ...

    def embed_sound(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed the sound of a clip.

        Args:
            samples: [640 per frame] mono at 16 kHz in [-1, 1], beginning with frame 0.

        Returns:
            [n, D]; row t matches row t of the pictures if lips and sound are in sync.
        """
        ...


@dataclass(frozen=True)
class LipSyncScore:
    """Score of one video.

    Attributes:
        scorer: Name of the scorer.
        protocol: What the scorer was shown: `frame`, `track` or `crop`.
        lse_c: Confidence: median over shifts minus minimum; higher is better.
        lse_d: Distance: minimum over shifts; lower is better.
        offset_frames: 15 - argmin, in -15 to 15; positive if the sound is early, so that pictures match the
            sound of that many frames before.
        distances_by_shift: [31] mean distance of the pictures from the sound s frames later, s = -15 to 15.
        frames: Number of windows compared, n.
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
    """A video that could not be scored, and why.

    Attributes:
        scorer: Name of the scorer.
        protocol: Its protocol.
        reason: Short stable code for counting: `too_short`, `no_sound`, `no_face` or another reason of
            `preprocessing.media.container.RefusedVideo`.
        detail: One sentence with the numbers.
    """

    scorer: str
    protocol: str
    reason: str
    detail: str


Score = LipSyncScore | NotScored


def measure_lse_c(generated: Score, _: Score) -> Measurement:
    """Confidence."""
    return _not_scored(generated) if isinstance(generated, NotScored) else Measurement(generated.lse_c)


def measure_lse_d(generated: Score, _: Score) -> Measurement:
    """Distance."""
    return _not_scored(generated) if isinstance(generated, NotScored) else Measurement(generated.lse_d)


def measure_offset(generated: Score, _: Score) -> Measurement:
    """Offset in frames, positive if the sound is early."""
    if isinstance(generated, NotScored):
        return _not_scored(generated)
    return Measurement(float(generated.offset_frames))


def _not_scored(score: NotScored) -> Measurement:
    return Measurement(None, f"{score.reason}: {score.detail}")


def lse_metrics(protocol: str, weights: MetricWeights | None) -> tuple[Metric[Any, Any], ...]:
    """Metrics by one protocol."""
    return (
        Metric(f"lse_c_{protocol}", protocol, "", "higher", measure_lse_c, weights=weights),
        Metric(f"lse_d_{protocol}", protocol, "", "lower", measure_lse_d, weights=weights),
        Metric(f"offset_{protocol}", protocol, "frames", "neither", measure_offset, weights=weights),
    )


def score_embeddings(
    scorer: str,
    protocol: str,
    video: NDArray[np.float32],
    sound: NDArray[np.float32],
    beyond: Beyond = "zeros",
) -> Score:
    """LSE-C, LSE-D and offset of embedded pictures and sound.

    Args:
        scorer: Name of the scorer.
        protocol: What the scorer was shown.
        video: [n, D]; row t begins with frame t.
        sound: [m, D]; the rest of the longer one is ignored.
        beyond: See `distances_by_shift`.

    Returns:
        `NotScored` with `too_short` if either is empty.

    Raises:
        ValueError: the embeddings differ in width, or are not finite.
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
        raise ValueError(f"{scorer} returned embeddings that are not finite: are these its weights?")
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
