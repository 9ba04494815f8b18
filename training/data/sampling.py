"""Which samples come when: a pure function of (seed, step, rank), whatever workers read them.

**Equal steps and "exactly once".** The epochs' orders are laid end to end as one endless list of
positions: position p is place p mod N of epoch p div N, N the number of samples. Step s takes positions
s R B to (s + 1) R B (R ranks, B rows a rank), rank r the r-th run of B of them. So every rank has a full
batch at every step, no rank has a step more than another, nothing is padded or dropped, and every epoch
holds every sample exactly once. What it costs: the batch in which an epoch ends also holds the first
samples of the next one, and an epoch is a number of samples, not of steps.

A single pass (for evaluation) has an end: its last step is filled up with samples from its beginning,
marked `real = False`, so that ranks still agree; every sample is real exactly once.

A cursor is the number of positions used, so it holds for another number of ranks or rows too.
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
_ORDER_STREAM: Final = 1  # keeps the order's random numbers apart from the samples'
_SAMPLE_STREAM: Final = 2


class OrderSettings(Settings):
    """In what order an epoch goes through the samples."""

    shuffle: bool = Field(
        default=True, description="Shuffle every epoch; otherwise in the order of the index"
    )
    # Shards in random order, then samples shuffled within runs of this many: reads stay in a few shards.
    # None: all samples shuffled together.
    window_samples: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class World:
    """Which process of how many this is."""

    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.ranks:
            raise ValueError(f"rank {self.rank} of {self.ranks}: need 0 <= rank < ranks")


class Slot(NamedTuple):
    """One row to be read."""

    epoch: int
    item: int  # number of the sample
    real: bool


@dataclass(frozen=True)
class Cursor:
    """Where a stream of batches is, for a checkpoint; plain JSON values."""

    seed: int
    samples: int  # N
    fingerprint: str  # of the samples and of the settings that decide what is drawn
    position: int = 0  # samples used so far by all ranks together
    corrupt_keys: tuple[str, ...] = ()  # clips met so far that could not be read, by this rank

    def to_json(self) -> dict[str, Any]:
        """Values that `json` keeps."""
        return dataclasses.asdict(self) | {
            "version": CURSOR_VERSION,
            "corrupt_keys": list(self.corrupt_keys),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Cursor":
        """The cursor that `to_json` wrote; raises ValueError where it is of another version."""
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
        shards: [N] number of each sample's shard.
        seed: of the run, at least 0.
        epoch: from 0.
        settings: how to shuffle.

    Returns:
        [N], every number from 0 to N - 1 once.
    """
    if not settings.shuffle:
        return np.arange(len(shards), dtype=np.int64)
    lot = np.random.default_rng([_ORDER_STREAM, seed, epoch])
    if settings.window_samples is None:
        return lot.permutation(len(shards)).astype(np.int64)
    names, shard = np.unique(shards, return_inverse=True)
    by_shard = np.argsort(lot.permutation(len(names))[shard], kind="stable")
    window = np.arange(len(shards)) // settings.window_samples
    return by_shard[np.lexsort((lot.random(len(shards)), window))].astype(np.int64)


class Order:
    """Maps positions to samples; keeps the two epochs that a batch can touch."""

    def __init__(self, shards: NDArray[np.int64], seed: int, settings: OrderSettings) -> None:
        if not len(shards) or seed < 0:
            raise ValueError(f"{len(shards)} samples and seed {seed}: need at least 1 sample, a seed from 0")
        self.samples = len(shards)
        self._epoch = lru_cache(maxsize=2)(lambda epoch: epoch_order(shards, seed, epoch, settings))

    def stream(self, position: int, rows: int, world: World) -> Iterator[list[Slot]]:
        """This rank's batches of `rows` from `position` on, without end."""
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
    """Random numbers of one sample in one epoch, whoever reads it and when."""
    name = int.from_bytes(blake2b(sample.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng([_SAMPLE_STREAM, seed, epoch, name, attempt])
