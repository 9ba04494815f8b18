"""Rows into batches, and batches from workers to the training process, in memory that is used again.

Left alone, torch's DataLoader keeps a batch's rows, joins them, and hands every batch over in shared memory
made for it. Making and dropping those pages can cost as much as decoding the pictures in them. Here each
row is copied to its place as it comes, and the places stay.

A worker's ring has one place more than batches it may be ahead. DataLoader asks it for batch m only after
its batch m - ahead has come back, and the training process has copied batch m - ahead - 1 by then: the
one that lay in the place of batch m.
"""

import dataclasses
from collections.abc import Iterable
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from training.data.batches import Batch, join_facts

AnyBatch = TypeVar("AnyBatch", bound=Batch)


class BatchWriter(Generic[AnyBatch]):
    """DataLoader's `collate_fn`: joins rows, in a worker into the next place of its ring."""

    def __init__(self, rows: int, batches_ahead: int) -> None:
        """`rows` of every batch; `batches_ahead`: how many DataLoader lets one worker be ahead."""
        self._rows = rows
        self._places: list[dict[str, Tensor]] = [{} for _ in range(batches_ahead + 1)]
        self._next = 0

    def __call__(self, rows: Iterable[AnyBatch]) -> AnyBatch:
        """One batch of batches of one, each copied before the next is asked for.

        In a worker its tensors are overwritten `batches_ahead` + 1 calls later.
        """
        batch, facts, place = None, [], dict[str, Tensor]()
        for number, row in enumerate(rows):
            tensors = row.tensors()
            if batch is None:
                batch, place = row, self._place(tensors)
            for name, value in tensors.items():
                place[name][number].copy_(value[0])
            facts.append(row.facts)
        assert batch is not None
        assert len(facts) == self._rows  # training.data.sampling makes full batches only
        return dataclasses.replace(batch, facts=join_facts(facts), **place)

    def _place(self, like: dict[str, Tensor]) -> dict[str, Tensor]:
        shapes = {name: (self._rows, *value.shape[1:]) for name, value in like.items()}
        if get_worker_info() is None:
            return {name: torch.empty(shapes[name], dtype=value.dtype) for name, value in like.items()}
        place = self._places[self._next]
        self._next = (self._next + 1) % len(self._places)
        for name, value in like.items():
            if name not in place or place[name].shape != shapes[name]:
                place[name] = torch.empty(shapes[name], dtype=value.dtype).share_memory_()
        return dict(place)


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
