"""Features of every frame of a split by a frozen network, computed once and then read like labels.

A stage on top of a frozen trunk otherwise decodes and encodes the same frames again at every step. Later
stages on the same trunk find them in the scratch directory.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from storage.atomic import write_atomically
from training.data.frames import to_network_input
from training.data.index import ClipIndex
from training.data.shard_reader import ReaderSettings, ShardReader

logger = logging.getLogger(__name__)

VALUES: Final = "values"
FILES_KEPT: Final = 8  # in the scratch directory: two splits of four trunks
BATCH_FRAMES: Final = 64  # frames that the network reads at once; no effect on the features beyond rounding


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
    starts = first_rows(index)
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
    """The features of a frozen trunk for every split of a stage, by split; logs what it costs.

    Those that an earlier stage kept are read instead.
    """
    started, training = time.monotonic(), trunk.training
    device = next(chain(trunk.parameters(), trunk.buffers())).device
    trunk.eval()
    features: dict[str, FrameFeatures] = {}
    for index in indexes:
        kept = read_features(index, trunk, side_px)
        if kept is None:
            kept = compute_frame_features(index, trunk, side_px, device, workers)
            keep_features(index, trunk, side_px, kept)
        features[index.split] = kept
    trunk.train(training)
    frames = sum(len(table.values) for table in features.values())
    logger.info("Computed the frozen features of %d frames in %.1f s", frames, time.monotonic() - started)
    return features


def keep_features(index: ClipIndex, trunk: nn.Module, side_px: int, features: FrameFeatures) -> None:
    """Keep the features of a trunk in the scratch directory; the oldest of `FILES_KEPT` go."""
    file = features_file(index, trunk, side_px)
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(file) as partial:
        partial.write_bytes(save({VALUES: features.values}))
    files = sorted(file.parent.glob(f"*{file.suffix}"), key=lambda path: path.stat().st_mtime)
    for old in files[:-FILES_KEPT]:
        old.unlink(missing_ok=True)


def read_features(index: ClipIndex, trunk: nn.Module, side_px: int) -> FrameFeatures | None:
    """The features that `keep_features` kept of the same frames and trunk, if any."""
    file = features_file(index, trunk, side_px)
    if file is None or not file.is_file():
        return None
    return FrameFeatures(load(file.read_bytes())[VALUES], first_rows(index)[:-1])


def features_file(index: ClipIndex, trunk: nn.Module, side_px: int) -> Path | None:
    """Where the features of a trunk are kept: its name tells trunk, weights and frames. None: nowhere."""
    if index.features_folder is None:
        return None
    tensors = [*trunk.parameters(), *trunk.buffers()]
    facts = [type(trunk).__name__, tensors[0].device.type, side_px, BATCH_FRAMES]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    clips = [index.key_column.to_pylist(), index.shard_names, index.shards.tolist()]
    digest.update(json.dumps([*clips, index.offsets_bytes.tolist()]).encode())
    return index.features_folder / f"{digest.hexdigest()[:32]}.safetensors"


def first_rows(index: ClipIndex) -> NDArray[np.int64]:
    """[C + 1] the row of each clip's first frame, and the number of rows."""
    return np.concatenate([[0], np.cumsum(index.frame_counts)])


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
