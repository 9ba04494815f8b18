"""Backend `syncnet_v2` of `lip_sync_scores`: SyncNet's distance of lips and sound over shifts, on the crop.

The input is the aligned crop (224 px, BGR, 0 to 255) and the sound's MFCC. Windows, shifts and the number of
windows are SyncNet's. No published number was measured by this protocol (they use a detector's crop, or the
whole frame), so thresholds from elsewhere do not apply.

A clip has at most 64 frames, and a shift of 15 needs a quarter of its sound beyond its ends. Published
programs pad with zeros, which would dominate a clip this short; here the mean is over the windows that have
sound.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from preprocessing.audio.lip_sync_distance import MAXIMUM_SHIFT_FRAMES, distances_by_shift
from preprocessing.audio.mfcc import mfcc
from preprocessing.labellers.backend import Backend, ClipLabeller, WeightsRequest
from preprocessing.labellers.networks import load_from_hub
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.schema import SAMPLES_PER_FRAME, Clip

NAME: Final = "syncnet_v2"
VERSION: Final = "1"
HUB_ENTRY: Final = "syncnet_clip"
WINDOW_FRAMES: Final = 5
MINIMUM_WINDOWS: Final = 2 * MAXIMUM_SHIFT_FRAMES  # half of them are left at the largest shift


class NetworkInput(NamedTuple):
    """A clip as the network takes it."""

    windows: int  # compared
    pictures: NDArray[np.uint8]  # [T, 224, 224, 3] BGR
    mfcc: NDArray[np.float32]  # [N, 13], 100 a second


class SyncNetScores(ClipLabeller[Clip, NetworkInput | None, dict[str, float]]):
    """Scores clips by a network.

    Args:
        network: of the hub's `syncnet_clip`: `embed_frames` and `embed_mfcc`.
    """

    def __init__(self, network: Any) -> None:
        self._network = network

    @override
    def prepare(self, item: Clip) -> NetworkInput | None:
        """Decode a clip's pictures and compute its MFCC; None below 35 frames or for digital silence."""
        windows = min(item.frame_count, len(item.sound) // SAMPLES_PER_FRAME) - WINDOW_FRAMES
        if windows < MINIMUM_WINDOWS or not item.sound.any():
            return None
        pictures = [decode_jpeg(jpeg)[..., ::-1] for jpeg in item.frames_jpeg]  # SyncNet takes BGR
        return NetworkInput(windows, np.stack(pictures), mfcc(item.sound).astype(np.float32))

    @override
    def label(self, prepared: NetworkInput | None) -> dict[str, float]:
        """Score a clip.

        Returns:
            ``confidence`` (median distance over shifts minus the smallest), ``offset_frames`` (the shift of
            the smallest; positive: the sound is late) and ``distance`` (the smallest). {} below 35 frames or
            for digital silence.

        Raises:
            ValueError: a distance is not finite.
        """
        if prepared is None:
            return {}
        import torch

        frames = torch.from_numpy(prepared.pictures).permute(0, 3, 1, 2)
        video = self._network.embed_frames(frames).numpy()[: prepared.windows]
        sound = self._network.embed_mfcc(torch.from_numpy(prepared.mfcc)).numpy()[: prepared.windows]
        distances = distances_by_shift(video, sound, "left out")
        if not np.isfinite(distances).all():
            raise ValueError(f"{NAME}: the network's distances are not finite: wrong weights?")
        nearest = int(np.argmin(distances))
        return {
            "confidence": float(np.median(distances) - distances[nearest]),
            "offset_frames": float(nearest - MAXIMUM_SHIFT_FRAMES),
            "distance": float(distances[nearest]),
        }


def open_labeller(weights: Path) -> SyncNetScores:
    """Load the published file. Raises as `load_from_hub`."""
    return SyncNetScores(load_from_hub(HUB_ENTRY, weights))


BACKEND: Final = Backend(
    name=NAME,
    version=VERSION,
    factory=open_labeller,
    weights=WeightsRequest("syncnet_v2", "syncnet_weights"),
)
