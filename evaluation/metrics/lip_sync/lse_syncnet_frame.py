"""LSE by the protocol `frame`: whole pictures resized to 224 x 224, without face detection.

For videos that are already crops of one face. Values differ from those of `track` by more than 1 for the same
video, so the two never compare.
"""

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
from preprocessing.media.container import RefusedVideo
from preprocessing.media.decoding import DecodeSettings, decode_sound, open_video
from preprocessing.schema import SAMPLES_PER_FRAME

PROTOCOL: Final = "frame"


def score_whole_frames(video: Path, scorer: LipSyncScorer) -> LipSyncScore | NotScored:
    """Score a video by its whole pictures, at 25 fps and 16 kHz.

    The file is read twice, once for each stream; only the sound and the embeddings are in memory.

    Returns:
        `NotScored` if it is too short (less than 6 frames or 0.24 s of sound), without sound, or not
        readable.
    """
    try:
        with open_video(video, DecodeSettings()) as decoded:
            embedded = scorer.embed_frames(squash(frame.image) for frame in decoded)
        # Decoded separately: together with pictures it would be padded with silence, and the protocol counts
        # real samples.
        sound = decode_sound(video, DecodeSettings())
    except RefusedVideo as refusal:
        return NotScored(scorer.name, PROTOCOL, refusal.reason, refusal.detail)
    first = decoded.first_frame_index or 0
    embedded_sound = scorer.embed_sound(sound[first * SAMPLES_PER_FRAME :])
    return score_embeddings(scorer.name, PROTOCOL, embedded, embedded_sound)


def squash(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W, 3] -> [224, 224, 3], bilinear, whatever the shape."""
    side = (VIDEO_SIDE_PX, VIDEO_SIDE_PX)
    return np.asarray(cv2.resize(image, side, interpolation=cv2.INTER_LINEAR), np.uint8)
