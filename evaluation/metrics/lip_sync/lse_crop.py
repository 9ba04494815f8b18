"""LSE by the protocol `crop`: videos that are already aligned crops.

For scorers that were trained on the data set's own crops (`lip_encoders`). It differs from `frame` in two
ways: pictures must be square, and the mean of a shift leaves out windows without sound. SyncNet's protocols
put zeros in their place; between features of length one a zero is closer (1) than an unrelated feature (about
1.41), so the largest shifts would have the smallest distance.
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
"""Our choice: the largest shift is then measured on half of the frames."""


def score_crop_video(video: Path, scorer: LipSyncScorer) -> LipSyncScore | NotScored:
    """Score a video of aligned crops, at 25 fps and 16 kHz.

    Returns:
        `NotScored` as for `score_crops`, without sound, or if the video is not readable.
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
        frames: Each [S, S, 3] RGB at 25 fps, resized to 224.
        samples: [N] mono at 16 kHz in [-1, 1], beginning with frame 0; the rest of the longer one is ignored.
        scorer: Embeds pictures and sound.

    Returns:
        `NotScored` if a picture is not square (`not_square`) or there are fewer than 30 windows
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
    sound = scorer.embed_sound(samples)
    count = min(len(embedded), len(sound))
    if count < MINIMUM_FRAMES:
        detail = f"{len(embedded)} frames and {len(sound)} of sound, need {MINIMUM_FRAMES} of each"
        return NotScored(scorer.name, PROTOCOL, "too_short", detail)
    return score_embeddings(scorer.name, PROTOCOL, embedded, sound, beyond="left out")


def _resized(images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """[S, S, 3] -> [224, 224, 3]: bilinear to enlarge, area to shrink.

    Raises:
        RefusedVideo: `not_square`.
    """
    for image in images:
        height, width = image.shape[:2]
        if height != width:
            raise RefusedVideo("not_square", f"pictures are {width} x {height}, aligned crops are square")
        interpolation = cv2.INTER_AREA if width > VIDEO_SIDE_PX else cv2.INTER_LINEAR
        yield np.asarray(
            cv2.resize(image, (VIDEO_SIDE_PX, VIDEO_SIDE_PX), interpolation=interpolation), np.uint8
        )
