"""Joins rows to batches, and passes batches from workers to the training process in reused shared memory.

By default torch's DataLoader collects the rows of a batch, joins them, and allocates new shared memory for
every batch, which can cost as much as decoding the images. Here each row is copied into a preallocated buffer
as it is read.

A worker has a ring of one buffer more than the batches it may be ahead. DataLoader requests batch m only
after batch m - ahead was returned; by then the training process has copied batch m - ahead - 1, whose buffer
batch m reuses.
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
    """DataLoader's `collate_fn`: joins rows; in a worker, into the next buffer of its ring."""

    def __init__(self, rows: int, batches_ahead: int) -> None:
        """`rows` per batch; `batches_ahead`: how many batches a worker may be ahead."""
        self._rows = rows
        self._buffers: list[dict[str, Tensor]] = [{} for _ in range(batches_ahead + 1)]
        self._next = 0

    def __call__(self, rows: Iterable[AnyBatch]) -> AnyBatch:
        """Join batches of one row, copying each before the next is read.

        In a worker the tensors are overwritten `batches_ahead` + 1 calls later.
        """
        batch, facts, buffer = None, [], dict[str, Tensor]()
        for number, row in enumerate(rows):
            tensors = row.tensors()
            if batch is None:
                batch, buffer = row, self._next_buffer(tensors)
            for name, value in tensors.items():
                buffer[name][number].copy_(value[0])
            facts.append(row.facts)
        assert batch is not None
        assert len(facts) == self._rows  # `training.data.sampling` yields full batches only
        return dataclasses.replace(batch, facts=join_facts(facts), **buffer)

    def _next_buffer(self, like: dict[str, Tensor]) -> dict[str, Tensor]:
        shapes = {name: (self._rows, *value.shape[1:]) for name, value in like.items()}
        if get_worker_info() is None:
            return {name: torch.empty(shapes[name], dtype=value.dtype) for name, value in like.items()}
        buffer = self._buffers[self._next]
        self._next = (self._next + 1) % len(self._buffers)
        for name, value in like.items():
            if name not in buffer or buffer[name].shape != shapes[name]:
                buffer[name] = torch.empty(shapes[name], dtype=value.dtype).share_memory_()
        return dict(buffer)


class BatchReader(Generic[AnyBatch]):
    """Copies batches out of shared memory."""

    def __init__(self, *, pin_memory: bool) -> None:
        self._pin_memory = pin_memory
        # Keeps the mappings: torch would otherwise map the shared memory again for every batch.
        self._mappings: dict[int, Tensor] = {}

    def __call__(self, shared: AnyBatch) -> AnyBatch:
        """Copy a batch, into page-locked memory if configured."""
        copies = dict[str, Tensor]()
        for name, value in shared.tensors().items():
            self._mappings[value.data_ptr()] = value
            copies[name] = torch.empty_like(value, pin_memory=self._pin_memory).copy_(value)
        return dataclasses.replace(shared, **copies)
