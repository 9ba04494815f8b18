"""Backend `syncnet_v2` of `lip_sync_scores`: SyncNet's distance of lips and sound over shifts, on the crop.

The aligned crop is shown as it is, 224 px, blue, green, red, 0 to 255; the sound as MFCC. Windows and shifts
are SyncNet's, and as many instants count as in its programs. The protocol is not that of any published
figure (those see a detector's crop, or the whole frame), so a threshold from elsewhere does not carry over.

A clip is at most 64 frames long, and a shift of 15 asks for a quarter of its sound beyond its ends. Published
programs put zeros there, which in a clip this short would decide the figures; here the mean is over the
instants that have sound.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocessing.audio.lip_sync_distance import MAXIMUM_SHIFT_FRAMES, distances_by_shift
from preprocessing.audio.mfcc import mfcc
from preprocessing.labellers.hub_network import network_from_hub
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import SAMPLES_PER_FRAME, Clip

NAME: Final = "syncnet_v2"
VERSION: Final = "1"
ENTRY: Final = "syncnet_clip"
WINDOW_FRAMES: Final = 5
MINIMUM_INSTANTS: Final = 2 * MAXIMUM_SHIFT_FRAMES  # the largest shift is then measured on half of them


class SeenAndHeard(NamedTuple):
    """What the network is given of a clip."""

    instants: int  # at which lips and sound are compared
    pictures: NDArray[np.uint8]  # [T, 224, 224, 3] blue, green, red
    mfcc: NDArray[np.float32]  # [N, 13], a hundred a second


class SyncNetScores:
    """A network, ready for clips (`ClipNetwork`).

    Args:
        network: of the hub's `syncnet_clip`: `embed_frames` and `embed_mfcc`.
    """

    def __init__(self, network: Any) -> None:
        self._network = network

    def prepare(self, clip: Clip) -> SeenAndHeard | None:
        """A clip's pictures and its sound; None where it is shorter than 35 frames or digital silence."""
        instants = min(clip.frame_count, len(clip.sound) // SAMPLES_PER_FRAME) - WINDOW_FRAMES
        if instants < MINIMUM_INSTANTS or not clip.sound.any():
            return None
        pictures = [decode_jpeg(jpeg)[..., ::-1] for jpeg in clip.frames_jpeg]  # SyncNet takes BGR
        return SeenAndHeard(instants, np.stack(pictures), mfcc(clip.sound).astype(np.float32))

    def label(self, ready: SeenAndHeard | None) -> dict[str, float]:
        """Scores of a clip.

        Returns:
            ``confidence`` (median distance over shifts less the smallest), ``offset_frames`` (the shift of
            the smallest; positive: the sound comes late, after the lips) and ``distance`` (the smallest). {}
            where the clip is shorter than 35 frames or its sound is digital silence: not scored is not zero.

        Raises:
            ValueError: the network gives what is not finite.
        """
        if ready is None:
            return {}
        import torch

        frames = torch.from_numpy(ready.pictures).permute(0, 3, 1, 2)
        video = self._network.embed_frames(frames).numpy()[: ready.instants]
        sound = self._network.embed_mfcc(torch.from_numpy(ready.mfcc)).numpy()[: ready.instants]
        distances = distances_by_shift(video, sound, "left out")
        if not np.isfinite(distances).all():
            raise ValueError(f"{NAME}: distances that are not finite: are these its weights?")
        nearest = int(np.argmin(distances))
        return {
            "confidence": float(np.median(distances) - distances[nearest]),
            "offset_frames": float(nearest - MAXIMUM_SHIFT_FRAMES),
            "distance": float(distances[nearest]),
        }


@contextmanager
def open_backend(file: Path) -> Generator[SyncNetScores]:
    """The scorer of the published file. Raises as `network_from_hub`."""
    yield SyncNetScores(network_from_hub(ENTRY, file))
