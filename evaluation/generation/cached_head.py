"""A talking head that caches codes: the videos of an evaluation share their clips.

The cached codes are a few kilobytes per frame.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from evaluation.animation.talking_head import EncodedPortrait, FaceMotion, TalkingHead
from models.style_vector import StyleVector

Item = TypeVar("Item")


class CachedTalkingHead(TalkingHead):
    """Wraps a talking head; every crop and every mel window is encoded once."""

    def __init__(self, head: TalkingHead) -> None:
        self.name, self.postprocessing, self.side_px = head.name, head.postprocessing, head.side_px
        self.expression_window_frames = head.expression_window_frames
        self.expression_window_from = head.expression_window_from
        self.expression_span_frames = head.expression_span_frames
        self.eye_parts, self.device = head.eye_parts, head.device
        self._head = head
        self._motions: dict[bytes, FaceMotion] = {}
        self._lips: dict[bytes, Tensor] = {}

    @override
    def appearance(self, crop: NDArray[np.uint8]) -> EncodedPortrait:
        return self._head.appearance(crop)

    @override
    def motion(self, crops: Sequence[NDArray[np.uint8]]) -> FaceMotion:
        rows = _cached(self._motions, crops, lambda new: _motion_rows(self._head.motion(new)))
        return FaceMotion(
            torch.stack([row.pose for row in rows]),
            torch.stack([row.eye for row in rows]),
            torch.stack([row.expression for row in rows]),
        )

    @override
    def lip(self, mels: NDArray[np.float32]) -> Tensor:
        return torch.stack(_cached(self._lips, mels, lambda new: list(self._head.lip(np.stack(new)))))

    @override
    def render(self, style: StyleVector, appearance: EncodedPortrait) -> NDArray[np.uint8]:
        return self._head.render(style, appearance)


def _cached(
    cache: dict[bytes, Item],
    arrays: Sequence[NDArray[Any]] | NDArray[Any],
    encode: Callable[[list[NDArray[Any]]], Sequence[Item]],
) -> list[Item]:
    """The cached codes of arrays, in order; new arrays are encoded in one call."""
    digests = [
        hashlib.sha1(np.ascontiguousarray(array).data, usedforsecurity=False).digest() for array in arrays
    ]
    new = {digest: array for digest, array in zip(digests, arrays, strict=True) if digest not in cache}
    if new:
        cache |= dict(zip(new, encode(list(new.values())), strict=True))
    return [cache[digest] for digest in digests]


def _motion_rows(motion: FaceMotion) -> list[FaceMotion]:
    return [FaceMotion(*codes) for codes in zip(motion.pose, motion.eye, motion.expression, strict=True)]
