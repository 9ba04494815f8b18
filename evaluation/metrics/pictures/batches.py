"""Streams of pictures as batches of tensors, for the metrics that run a network or a filter over them."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PICTURES_AT_ONCE: Final = 16

Pictures = Iterable[NDArray[np.uint8]]
"""Each [S, S, 3] RGB, 0 to 255, all of one S."""


def picture_batches(pictures: Pictures) -> Iterator[Tensor]:
    """Batches uint8 [n, 3, S, S] of pictures, in order.

    Raises:
        ValueError: a picture is not square, or of another size than the first.
    """
    source, side = iter(pictures), 0
    while piece := list(islice(source, PICTURES_AT_ONCE)):
        side = side or piece[0].shape[0]
        wrong = next((picture.shape for picture in piece if picture.shape != (side, side, 3)), None)
        if wrong is not None:
            raise ValueError(f"pictures must all be {[side, side, 3]}, got {list(wrong)}")
        yield torch.from_numpy(np.stack(piece)).permute(0, 3, 1, 2)


def paired_batches(generated: Pictures, truth: Pictures) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of generated and true pictures of the same moments, each uint8 [n, 3, S, S].

    Raises:
        ValueError: they differ in number or size, or as `picture_batches`.
    """
    for mine, theirs in zip(picture_batches(generated), picture_batches(truth), strict=True):
        if mine.shape != theirs.shape:
            raise ValueError(f"generated pictures {list(mine.shape)} against true ones {list(theirs.shape)}")
        yield mine, theirs
