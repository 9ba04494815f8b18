"""Random frames with a minimum distance, and mel windows."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from preprocessing.schema import mel_shape
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


def read_mel_window(reader: ShardReader, clip: int, frame: int) -> Tensor:
    """Float32 [1, 80, 20] in [0, 1]: the audio network's input of a video frame.

    Of frame t of a video it is the video's mel rows 4 (t - 2) to 4 (t - 2) + 19.
    """
    shape = mel_shape(int(reader.index.frame_counts[clip]))
    values = reader.rows(clip, "mel.npy", shape, 4 * frame, 4 * frame + MEL_WINDOW_FRAMES)
    return torch.from_numpy(np.ascontiguousarray(values.T))[None]


def driven_by(facts: RowFacts, frame: int) -> RowFacts:
    """The facts with the driving frame set."""
    return dataclasses.replace(facts, frames=(frame,))
