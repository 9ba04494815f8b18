"""The order of samples: a function of (seed, step, rank), independent of the loader workers.

The orders of all epochs form one endless sequence: position p is entry p mod N of epoch p div N, with N
samples. Step s takes positions s R B to (s + 1) R B (R ranks, B rows per rank), rank r the r-th run of B.
Every rank thus has a full batch at every step, nothing is padded or dropped, and every epoch has every sample
exactly once. The batch in which an epoch ends also holds the first samples of the next.

A single pass (for evaluation) is finite: its last step is padded with samples from its beginning, marked
`real = False`, so that all ranks have the same number of steps; every sample is real exactly once.

A cursor is a number of positions, so it also fits another number of ranks or rows.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from storage.settings import Settings

CURSOR_VERSION: Final = 1
_ORDER_STREAM: Final = 1  # separates the random numbers of the order from those of samples
_SAMPLE_STREAM: Final = 2


class OrderSettings(Settings):
    """Order of the samples in an epoch."""

    shuffle: bool = Field(
        default=True, description="Shuffle every epoch; otherwise in the order of the index"
    )
    # Shards in random order, then samples shuffled within windows of this many, so that few shards are read
    # at a time. None: all samples shuffled together.
    window_samples: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class World:
    """Rank of this process and number of ranks."""

    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.ranks:
            raise ValueError(f"rank must be in [0, {self.ranks}), got {self.rank}")


class Slot(NamedTuple):
    """One row to read."""

    epoch: int
    item: int  # index of the sample
    real: bool


@dataclass(frozen=True)
class Cursor:
    """Position of a stream of batches, for a checkpoint; JSON values."""

    seed: int
    samples: int  # N
    fingerprint: str  # of the samples and of the settings that decide what is drawn
    position: int = 0  # samples used so far by all ranks
    corrupt_keys: tuple[str, ...] = ()  # unreadable clips so far, on this rank

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self) | {
            "version": CURSOR_VERSION,
            "corrupt_keys": list(self.corrupt_keys),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Cursor":
        """Read what `to_json` wrote; raises ValueError for another version."""
        if values.get("version") != CURSOR_VERSION:
            raise ValueError(f"cursor of version {values.get('version')}, this code reads {CURSOR_VERSION}")
        return cls(
            seed=values["seed"],
            samples=values["samples"],
            fingerprint=values["fingerprint"],
            position=values["position"],
            corrupt_keys=tuple(values["corrupt_keys"]),
        )


def epoch_order(
    shards: NDArray[np.int64], seed: int, epoch: int, settings: OrderSettings
) -> NDArray[np.int64]:
    """The order of one epoch.

    Args:
        shards: [N] shard of each sample.
        seed: of the run, at least 0.
        epoch: from 0.
        settings: how to shuffle.

    Returns:
        [N], a permutation of 0 to N - 1.
    """
    if not settings.shuffle:
        return np.arange(len(shards), dtype=np.int64)
    rng = np.random.default_rng([_ORDER_STREAM, seed, epoch])
    if settings.window_samples is None:
        return rng.permutation(len(shards)).astype(np.int64)
    names, shard = np.unique(shards, return_inverse=True)
    by_shard = np.argsort(rng.permutation(len(names))[shard], kind="stable")
    window = np.arange(len(shards)) // settings.window_samples
    return by_shard[np.lexsort((rng.random(len(shards)), window))].astype(np.int64)


class Order:
    """Maps positions to samples; caches the two epochs that a batch can span."""

    def __init__(self, shards: NDArray[np.int64], seed: int, settings: OrderSettings) -> None:
        if not len(shards) or seed < 0:
            raise ValueError(f"samples must be >= 1 and seed >= 0, got {len(shards)} and {seed}")
        self.samples = len(shards)
        self._epoch = lru_cache(maxsize=2)(lambda epoch: epoch_order(shards, seed, epoch, settings))

    def stream(self, position: int, rows: int, world: World) -> Iterator[list[Slot]]:
        """Endless batches of this rank with `rows` rows, from `position` on."""
        while True:
            first = position + world.rank * rows
            yield [self._slot(place, endless=True) for place in range(first, first + rows)]
            position += world.ranks * rows

    def single_pass(self, rows: int, world: World, epoch: int = 0) -> Iterator[list[Slot]]:
        """This rank's batches of one pass; `single_pass_steps` of them on every rank."""
        for step in range(self.single_pass_steps(rows, world)):
            first = (step * world.ranks + world.rank) * rows
            yield [
                self._slot(place, endless=False)._replace(epoch=epoch) for place in range(first, first + rows)
            ]

    def single_pass_steps(self, rows: int, world: World) -> int:
        """Steps of a single pass on every rank."""
        return -(-self.samples // (rows * world.ranks))

    def _slot(self, position: int, *, endless: bool) -> Slot:
        epoch, place = divmod(position, self.samples)
        if endless:
            return Slot(epoch, int(self._epoch(epoch)[place]), real=True)
        return Slot(0, int(self._epoch(0)[place]), real=epoch == 0)


def sample_generator(seed: int, epoch: int, sample: str, attempt: int = 0) -> np.random.Generator:
    """Random numbers of one sample in one epoch, independent of the reader."""
    name = int.from_bytes(blake2b(sample.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng([_SAMPLE_STREAM, seed, epoch, name, attempt])
