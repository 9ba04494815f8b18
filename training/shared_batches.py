"""Batches from workers to the training process through shared memory that is used again and again.

Left alone, torch's DataLoader hands every batch over in shared memory made for it. Making and dropping
those pages can cost as much as decoding the pictures in them; pages that stay cost a copy on either side.

A worker's ring has one place more than batches it may be ahead. DataLoader asks it for batch m only after
its batch m - ahead has come back, and the training process has copied batch m - ahead - 1 by then: the
one that lay in the place of batch m.
"""

import dataclasses
from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from training.batches import Batch, concatenate

AnyBatch = TypeVar("AnyBatch", bound=Batch)


class BatchWriter(Generic[AnyBatch]):
    """DataLoader's `collate_fn`: joins rows, in a worker into the next place of its ring."""

    def __init__(self, batches_ahead: int) -> None:
        """`batches_ahead`: how many batches DataLoader lets one worker be ahead."""
        self._places: list[dict[str, Tensor]] = [{} for _ in range(batches_ahead + 1)]
        self._next = 0

    def __call__(self, rows: Sequence[AnyBatch]) -> AnyBatch:
        """One batch of batches; in a worker its tensors are overwritten `batches_ahead` + 1 calls later."""
        if get_worker_info() is None:
            return concatenate(rows)
        place = self._places[self._next]
        self._next = (self._next + 1) % len(self._places)
        count = sum(len(row) for row in rows)
        for name, value in rows[0].tensors().items():
            shape = (count, *value.shape[1:])
            if name not in place or place[name].shape != shape:
                place[name] = torch.empty(shape, dtype=value.dtype).share_memory_()
        return concatenate(rows, place)


class BatchReader(Generic[AnyBatch]):
    """Makes the training process's own batches of those in shared memory."""

    def __init__(self, *, pin_memory: bool) -> None:
        self._pin_memory = pin_memory
        # torch maps shared memory anew each time it comes, unless the mapping is still held.
        self._mappings: dict[int, Tensor] = {}

    def __call__(self, shared: AnyBatch) -> AnyBatch:
        """A copy, page-locked where asked for."""
        own = dict[str, Tensor]()
        for name, value in shared.tensors().items():
            self._mappings[value.data_ptr()] = value
            own[name] = torch.empty_like(value, pin_memory=self._pin_memory).copy_(value)
        return dataclasses.replace(shared, **own)
