"""Codes on their way through time, one row a frame: windows, strengths, batches.

Everything here is lazy and looks ahead by half a window at most, so a video of any length passes through.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Literal, TypeVar

from torch import Tensor

Item = TypeVar("Item")


def windowed_mean(
    rows: Iterable[Tensor], weights: Sequence[float], edges: Literal["zero", "shrink"]
) -> Iterator[Tensor]:
    """Weighted means over the rows around each row.

    Args:
        rows: [D] each.
        weights: an odd number of them, the middle one is the row's own.
        edges: beyond both ends stand zeros, or nothing: the mean is over the weights that are left.

    Yields:
        As many rows as came in.

    Raises:
        ValueError: an even number of weights.
    """
    if len(weights) % 2 == 0:
        raise ValueError(f"a window is around a frame: need an odd number of weights, got {len(weights)}")
    half = len(weights) // 2
    window: deque[Tensor | None] = deque(repeat(None, half), maxlen=len(weights))
    for row in chain(rows, repeat(None, half)):
        window.append(row)
        if len(window) < len(weights):
            continue
        present = [
            (weight, value) for weight, value in zip(weights, window, strict=True) if value is not None
        ]
        total = sum(weight for weight, _ in present) if edges == "shrink" else 1.0
        (first_weight, first), *others = present
        mean = first_weight * first
        for weight, value in others:
            mean = mean + weight * value
        yield mean / total


def mixed(rows: Iterable[Tensor], neutral: Tensor, strength: float | Tensor) -> Iterator[Tensor]:
    """``neutral + strength (row - neutral)``: 0 is neutral, 1 the driver, more exaggerates.

    Args:
        rows: [D] each.
        neutral: [D].
        strength: of all dimensions, or a map [D, D] of changes (rows), whose parts go differently far.
    """
    for row in rows:
        change = row - neutral
        yield neutral + (change @ strength if isinstance(strength, Tensor) else strength * change)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one of what is left."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
