"""Features of every frame of a split by a frozen network, computed once and then read like labels.

A stage on top of a frozen trunk otherwise decodes and encodes the same frames again at every step.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from training.data.frames import to_network_input
from training.data.index import ClipIndex
from training.data.shard_reader import ReaderSettings, ShardReader

logger = logging.getLogger(__name__)

BATCH_FRAMES = 64  # frames that the network reads at once; no effect on the features beyond rounding


@dataclass(frozen=True)
class FrameFeatures:
    """Features of all frames of the clips of an index, on the host."""

    values: Tensor = field(repr=False)  # float32 [sum of T, D]
    starts: NDArray[np.int64] = field(repr=False)  # [C] row of each clip's first frame

    def rows(self, clip: int, frames: list[int]) -> Tensor:
        """Features [N, D] of frames of a clip."""
        return self.values[torch.as_tensor(frames) + int(self.starts[clip])]


@torch.no_grad()
def compute_frame_features(
    index: ClipIndex, network: Callable[[Tensor], Tensor], side_px: int, device: torch.device, workers: int
) -> FrameFeatures:
    """Features of every frame of every clip.

    Args:
        index: the clips.
        network: [N, 3, S, S] RGB in [-1, 1] -> [N, D]; in evaluation mode.
        side_px: S.
        device: of the network.
        workers: processes that decode.

    Raises:
        CorruptMemberError: a frame cannot be read.
    """
    starts = np.concatenate([[0], np.cumsum(index.frame_counts)])
    loader = DataLoader(
        _ClipImages(index, side_px), batch_size=None, num_workers=workers, generator=torch.Generator()
    )
    features = [network(images.to(device)).float().cpu() for images in _in_batches(loader)]
    values = torch.cat(features)
    assert len(values) == starts[-1]
    return FrameFeatures(values, starts[:-1])


def compute_stage_features(
    indexes: Sequence[ClipIndex], trunk: nn.Module, side_px: int, workers: int
) -> dict[str, FrameFeatures]:
    """The features of a frozen trunk for every split of a stage, by split; logs what it costs."""
    started, training = time.monotonic(), trunk.training
    device = next(trunk.parameters()).device
    trunk.eval()
    features = {
        index.split: compute_frame_features(index, trunk, side_px, device, workers) for index in indexes
    }
    trunk.train(training)
    frames = sum(len(table.values) for table in features.values())
    logger.info("Computed the frozen features of %d frames in %.1f s", frames, time.monotonic() - started)
    return features


class _ClipImages(Dataset[Tensor]):
    """All frames of a clip as network input."""

    def __init__(self, index: ClipIndex, side_px: int) -> None:
        self._index, self._side_px = index, side_px
        self._reader = ShardReader(index, ReaderSettings())

    def __len__(self) -> int:
        return len(self._index)

    @override
    def __getitem__(self, index: int) -> Tensor:
        frames = self._reader.frames(index, range(int(self._index.frame_counts[index])))
        return to_network_input(torch.stack(frames), self._side_px)


def _in_batches(loader: "DataLoader[Tensor]") -> Iterator[Tensor]:
    for images in loader:
        yield from images.split(BATCH_FRAMES)
