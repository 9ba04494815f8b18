"""What the sources share: frames drawn apart from each other, and mel windows."""

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from preprocessing.schema import MEL_BANDS
from training.data.batches import MEL_WINDOW_FRAMES, RowFacts
from training.data.shard_reader import ShardReader


def draw_other(frames: int, frame: int, gap: int, lot: np.random.Generator) -> int:
    """Another of `frames`, at least `gap` from `frame`; in a clip too short for that, the farthest."""
    apart = min(max(gap, 1), max(frame, frames - 1 - frame))
    before = max(frame - apart + 1, 0)  # frames 0 to before - 1, and those from frame + apart on
    place = int(lot.integers(before + max(frames - frame - apart, 0)))
    return place if place < before else frame + apart + place - before


def draw_pair(frames: int, gap: int, lot: np.random.Generator) -> tuple[int, int]:
    """Two different frames."""
    first = int(lot.integers(frames))
    return first, draw_other(frames, first, gap, lot)


def mel_window_rows(frame: int, frames: int) -> NDArray[np.int64]:
    """Mel rows of a video frame: 20 from 4 (t - 2), the outermost repeated beyond the clip's 4 T + 7 (§2)."""
    return np.clip(4 * (frame - 2) + np.arange(MEL_WINDOW_FRAMES), 0, 4 * frames + 6)


def read_mel_window(reader: ShardReader, clip: int, frame: int) -> Tensor:
    """Float32 [1, 80, 20] in [0, 1]: the audio network's input of a video frame."""
    frames = int(reader.index.frame_counts[clip])
    rows = mel_window_rows(frame, frames)
    first, end = int(rows[0]), int(rows[-1]) + 1
    values = reader.rows(clip, "mel.npy", (4 * frames + 7, MEL_BANDS), first, end)
    return torch.from_numpy(np.ascontiguousarray(values[rows - first].T))[None]


def driven_by(facts: RowFacts, frame: int) -> RowFacts:
    """The facts of a batch of one, with its driving frame."""
    return dataclasses.replace(facts, frames=(frame,))
