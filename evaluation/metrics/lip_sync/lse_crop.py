"""LSE by the protocol `crop`: videos that are aligned crops already, each picture as it is.

For scorers that were trained on the data set's own crops (`lip_encoders`). Two things differ from `frame`,
so the names differ: the picture must be square and is never squashed, and a shift's mean leaves out the
instants that have no sound there. SyncNet's protocols put zeros in their place; between features of length
one a zero is nearer (1) than what does not fit (about 1.41), so that the largest shifts would look best.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.lip_sync.distance import (
    VIDEO_SIDE_PX,
    LipSyncScore,
    LipSyncScorer,
    NotScored,
    score_embeddings,
)
from preprocessing.audio.lip_sync_distance import MAXIMUM_SHIFT_FRAMES
from preprocessing.media.container import RefusedVideo
from preprocessing.media.decoding import DecodeSettings, decode_sound, open_video
from preprocessing.schema import SAMPLES_PER_FRAME

PROTOCOL: Final = "crop"
MINIMUM_FRAMES: Final = 2 * MAXIMUM_SHIFT_FRAMES
"""Ours: the largest shift is then measured on half of the frames."""


def score_crop_video(video: Path, scorer: LipSyncScorer) -> LipSyncScore | NotScored:
    """Score a video of aligned crops, at 25 frames a second and 16 kHz.

    Returns:
        The figures, or why there are none: `not_square`, as `score_crops`, no sound, or no readable video.
    """
    try:
        with open_video(video, DecodeSettings()) as decoded:
            embedded = scorer.embed_frames(_resized(frame.image for frame in decoded))
        sound = decode_sound(video, DecodeSettings())
    except RefusedVideo as refusal:
        return NotScored(scorer.name, PROTOCOL, refusal.reason, refusal.detail)
    first = decoded.first_frame_index or 0
    return _score(scorer, embedded, sound[first * SAMPLES_PER_FRAME :])


def score_crops(
    frames: Iterable[NDArray[np.uint8]], samples: NDArray[np.float32], scorer: LipSyncScorer
) -> LipSyncScore | NotScored:
    """Score aligned crops with a sound.

    Args:
        frames: Each [S, S, 3] RGB, 25 a second, resized to 224.
        samples: [N] mono at 16 kHz in [-1, 1], beginning with frame 0; of the longer one the rest is left.
        scorer: Whose embeddings.

    Returns:
        The figures, or why there are none: a picture is no square (`not_square`), fewer than 30 instants
        (`too_short`).
    """
    try:
        embedded = scorer.embed_frames(_resized(frames))
    except RefusedVideo as refusal:
        return NotScored(scorer.name, PROTOCOL, refusal.reason, refusal.detail)
    return _score(scorer, embedded, samples)


def _score(
    scorer: LipSyncScorer, embedded: NDArray[np.float32], samples: NDArray[np.float32]
) -> LipSyncScore | NotScored:
    heard = scorer.embed_sound(samples)
    count = min(len(embedded), len(heard))
    if count < MINIMUM_FRAMES:
        detail = f"{len(embedded)} frames and {len(heard)} of sound, need {MINIMUM_FRAMES} of each"
        return NotScored(scorer.name, PROTOCOL, "too_short", detail)
    return score_embeddings(scorer.name, PROTOCOL, embedded, heard, beyond="left out")


def _resized(images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """[S, S, 3] -> [224, 224, 3]: bilinear where it grows, by areas where it shrinks.

    Raises:
        RefusedVideo: `not_square`.
    """
    for image in images:
        height, width = image.shape[:2]
        if height != width:
            raise RefusedVideo("not_square", f"pictures are {width} x {height}, an aligned crop is square")
        how = cv2.INTER_AREA if width > VIDEO_SIDE_PX else cv2.INTER_LINEAR
        yield np.asarray(cv2.resize(image, (VIDEO_SIDE_PX, VIDEO_SIDE_PX), interpolation=how), np.uint8)
