"""SyncNet v2 as a streaming lip sync scorer. Imports torch."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.metrics.lip_sync.distance import VIDEO_SIDE_PX
from models.external.syncnet import EMBEDDING_WIDTH, WINDOW_FRAMES, SyncNet, load_syncnet
from models.external.syncnet_clip import ClipSyncNet
from preprocessing.audio.mfcc import mfcc
from preprocessing.schema import SAMPLES_PER_FRAME

NAME: Final = "syncnet_v2"


class SyncNetScorer:
    """SyncNet v2 with given weights.

    F frames give F - 5 windows, N samples N // 640 - 5: one less than would fit, as in the published program.
    """

    def __init__(self, network: SyncNet, device: torch.device) -> None:
        self._clip = ClipSyncNet(network, device)

    @property
    def name(self) -> str:
        """`syncnet_v2`."""
        return NAME

    def embed_frames(self, frames: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """[max(0, F - 5), 1024] of frames, each [224, 224, 3] RGB; about seventy are in memory at a time.

        Raises:
            ValueError: a frame has another shape.
        """
        rows = [
            self._clip.embed_frames(batch).numpy()
            for batch in overlapping_batches(frames, self._clip.windows_at_once)
        ]
        return np.concatenate(rows)[:-1] if rows else np.zeros((0, EMBEDDING_WIDTH), np.float32)

    def embed_sound(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """[max(0, N // 640 - 5), 1024] of samples [N], mono at 16 kHz in [-1, 1].

        Raises:
            ValueError: the samples are not [N] float32.
        """
        count = len(samples) // SAMPLES_PER_FRAME - WINDOW_FRAMES
        if count <= 0:
            return np.zeros((0, EMBEDDING_WIDTH), np.float32)
        coefficients = torch.from_numpy(mfcc(samples).astype(np.float32))
        return self._clip.embed_mfcc(coefficients).numpy()[:count]


def load_syncnet_scorer(weights: Path) -> SyncNetScorer:
    """The scorer with the weights of a file, on a CUDA device if there is one.

    Args:
        weights: The published `syncnet_v2.model`, or a file of the same layout.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read with `weights_only`, or is not SyncNet v2.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return SyncNetScorer(load_syncnet(weights), device)


def overlapping_batches(frames: Iterable[NDArray[np.uint8]], windows: int) -> Iterator[torch.Tensor]:
    """Batches uint8 [<= windows + 4, 3, 224, 224] BGR that overlap by four frames; a window is in one."""
    source = iter(frames)
    held = list(islice(source, WINDOW_FRAMES - 1))
    while fresh := list(islice(source, windows)):
        held += fresh
        yield blue_green_red(held)
        held = held[-(WINDOW_FRAMES - 1) :]


def blue_green_red(frames: list[NDArray[np.uint8]]) -> torch.Tensor:
    """[F, 3, 224, 224] of RGB pictures.

    Raises:
        ValueError: a frame has another shape.
    """
    shape = (VIDEO_SIDE_PX, VIDEO_SIDE_PX, 3)
    wrong = next((frame.shape for frame in frames if frame.shape != shape), None)
    if wrong is not None:
        raise ValueError(f"frames must be {list(shape)}, got {list(wrong)}")
    return torch.from_numpy(np.stack(frames)[..., ::-1].copy()).permute(0, 3, 1, 2)
