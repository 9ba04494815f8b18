"""Random frames with a minimum distance, and mel windows."""

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from preprocessing.schema import MEL_BANDS
from training.data.batches import MEL_WINDOW_FRAMES, RowFacts
from training.data.shard_reader import ShardReader


def draw_other(frames: int, frame: int, gap: int, rng: np.random.Generator) -> int:
    """Draw another of `frames` frames, at least `gap` from `frame`; in short clips, the farthest possible."""
    distance = min(max(gap, 1), max(frame, frames - 1 - frame))
    before = max(frame - distance + 1, 0)  # candidates: 0 to before - 1, and from frame + distance on
    place = int(rng.integers(before + max(frames - frame - distance, 0)))
    return place if place < before else frame + distance + place - before


def draw_spread(frames: int, frame: int, count: int, rng: np.random.Generator) -> list[int]:
    """Draw `count` - 1 other frames, in order: one of each of `count` equal parts of a clip, but `frame`'s.

    `count` must be at most `frames`.
    """
    bounds = np.arange(count + 1) * frames // count
    own = int(np.searchsorted(bounds, frame, side="right")) - 1
    drawn = rng.integers(bounds[:-1], bounds[1:])
    return [int(number) for part, number in enumerate(drawn) if part != own]


def mel_window_rows(frame: int, frames: int) -> NDArray[np.int64]:
    """The 20 mel rows of a video frame t, from 4 (t - 2) on; clamped to the clip's 4 T + 7 rows."""
    return np.clip(4 * (frame - 2) + np.arange(MEL_WINDOW_FRAMES), 0, 4 * frames + 6)


def read_mel_window(reader: ShardReader, clip: int, frame: int) -> Tensor:
    """Float32 [1, 80, 20] in [0, 1]: the audio network's input of a video frame."""
    frames = int(reader.index.frame_counts[clip])
    rows = mel_window_rows(frame, frames)
    first, end = int(rows[0]), int(rows[-1]) + 1
    values = reader.rows(clip, "mel.npy", (4 * frames + 7, MEL_BANDS), first, end)
    return torch.from_numpy(np.ascontiguousarray(values[rows - first].T))[None]


def driven_by(facts: RowFacts, frame: int) -> RowFacts:
    """The facts with the driving frame set."""
    return dataclasses.replace(facts, frames=(frame,))
