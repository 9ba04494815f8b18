"""Inputs of picture metrics: a video's pictures and its reference, and batching of pictures into tensors."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BATCH_PICTURES: Final = 16

Picture = NDArray[np.uint8]
Pictures = Iterable[Picture]
"""Each [S, S, 3] RGB, 0 to 255, all of one S."""


@dataclass(frozen=True)
class PictureVideo:
    """The pictures of a video.

    Attributes:
        pictures: Each uint8 [S, S, 3] RGB.
        find_landmarks: Pictures -> float32 [T, 478, 3] in px of pictures resized to 224, NaN without a face.
            Called when a metric asks for landmarks.
    """

    pictures: Sequence[Picture] = field(repr=False)
    find_landmarks: Callable[[Sequence[Picture]], NDArray[np.float32]] = field(repr=False)

    @cached_property
    def landmarks_px(self) -> NDArray[np.float32]:
        """[T, 478, 3], see `find_landmarks`."""
        return self.find_landmarks(self.pictures)


@dataclass(frozen=True)
class PictureReference:
    """What a video is compared with.

    Attributes:
        portrait: The portrait, a video of one picture.
        truth: The true video, as long as the generated one; None if there is none.
        cross_truth: True pictures of a cross video, known on a rendered corpus alone; None if unknown.
        no_cross_truth: Why `cross_truth` is None.
    """

    portrait: PictureVideo
    truth: PictureVideo | None = None
    cross_truth: PictureVideo | None = None
    no_cross_truth: str = ""

    @property
    def true_pictures(self) -> Sequence[Picture]:
        """Pictures of the true video.

        Raises:
            ValueError: there is none.
        """
        if self.truth is None:
            raise ValueError("this metric needs a true video; restrict its tasks to self")
        return self.truth.pictures


def picture_batches(pictures: Pictures) -> Iterator[Tensor]:
    """Batches uint8 [n, 3, S, S] of pictures, in order.

    Raises:
        ValueError: a picture is not square, or of another size than the first.
    """
    source, side = iter(pictures), 0
    while batch := list(islice(source, BATCH_PICTURES)):
        side = side or batch[0].shape[0]
        wrong = next((picture.shape for picture in batch if picture.shape != (side, side, 3)), None)
        if wrong is not None:
            raise ValueError(f"pictures must all be {[side, side, 3]}, got {list(wrong)}")
        yield torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)


def paired_batches(generated: Pictures, truth: Pictures) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of generated and true pictures of the same frames, each uint8 [n, 3, S, S].

    Raises:
        ValueError: they differ in number or size, there are none, or as `picture_batches`.
    """
    empty = True
    for batch, true_batch in zip(picture_batches(generated), picture_batches(truth), strict=True):
        if batch.shape != true_batch.shape:
            raise ValueError(f"generated pictures {list(batch.shape)}, true ones {list(true_batch.shape)}")
        empty = False
        yield batch, true_batch
    if empty:
        raise ValueError("no pictures to compare")
