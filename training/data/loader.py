"""Batches from the data set: deterministic, resumable, each sample once per epoch.

`BatchStream` is endless, for training; `single_pass` is finite, for metrics. `training.data.sampling` defines
the order and how ranks share the samples. The rows of a batch, and all random numbers in them, depend on
(seed, epoch, sample) alone, so any number of workers gives the same batches.

A clip that cannot be read is an error that names shard and key. With `maximum_corrupt_clips` above 0 such
clips are counted per rank instead: the row is replaced by another sample, the batch's facts record it, and
exceeding the bound is an error.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Final, Generic, TypeVar

import torch
from pydantic import Field
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from storage.fingerprint import fingerprint
from storage.settings import Settings
from training.data.batches import Batch, CorruptMember, RowFacts
from training.data.sampling import Cursor, Order, OrderSettings, Slot, World, sample_generator
from training.data.shard_reader import CorruptMemberError, ReaderSettings, ShardReader
from training.data.shared_batches import BatchReader, BatchWriter
from training.data.sources import Source

AnyBatch = TypeVar("AnyBatch", bound=Batch)
FIRST_BATCHES_ROWS: Final = 16
_ATTEMPTS: Final = 16  # attempts to replace an unreadable row


class LoaderSettings(Settings):
    """How batches are loaded."""

    batch_size: int = Field(ge=1, description="Samples per rank")
    seed: int = Field(default=0, ge=0)
    workers: int = Field(
        default=1, ge=0, description="Worker processes per rank; 0 reads in the training process"
    )
    prefetch_batches: int = Field(default=2, ge=1, description="Batches prefetched per worker")
    pin_memory: bool = False
    maximum_corrupt_clips: int = Field(
        default=0, ge=0, description="Unreadable clips that a rank skips in the whole run before it fails"
    )
    order: OrderSettings = OrderSettings()
    reader: ReaderSettings = ReaderSettings()


class RowDataset(Dataset[AnyBatch], Generic[AnyBatch]):
    """A source as a torch dataset: a slot in, a batch of one out."""

    def __init__(self, source: Source[AnyBatch], settings: LoaderSettings) -> None:
        self.source = source
        self.settings = settings
        self.reader = ShardReader(source.index, settings.reader)

    @override
    def __getitem__(self, index: Slot) -> AnyBatch:
        slot, item, corrupt = index, index.item, list[CorruptMember]()
        for attempt in range(_ATTEMPTS):
            rng = sample_generator(self.settings.seed, slot.epoch, self.source.name(slot.item), attempt)
            if corrupt and corrupt[-1].key == self._key(item):
                item = int(rng.integers(len(self.source.clips)))
            facts = RowFacts(
                keys=(self._key(item),),
                frames=(0,),
                epochs=(slot.epoch,),
                seeds=(int(rng.integers(2**63)),),
                real=(slot.real,),
                corrupt=tuple(corrupt),
            )
            try:
                return self.source.read(self.reader, item, rng, facts)
            except CorruptMemberError as error:
                if self.settings.maximum_corrupt_clips == 0 or error.member is None:
                    raise
                corrupt.append(error.member)
        raise CorruptMemberError(
            f"{_ATTEMPTS} samples in a row cannot be read: {_describe(corrupt)}", corrupt[-1]
        )

    def __getitems__(self, slots: list[Slot]) -> Iterator[AnyBatch]:
        """Rows one by one, for DataLoader: `BatchWriter` copies each before the next is read."""
        return map(self.__getitem__, slots)

    def _key(self, item: int) -> str:
        return self.source.index.key(int(self.source.clips[item]))


class BatchStream(Generic[AnyBatch]):
    """Endless batches of one rank, to be iterated once.

    `cursor` is the position after the batches returned so far. A stream built with the cursor of a checkpoint
    continues with the next batch.
    """

    def __init__(
        self,
        source: Source[AnyBatch],
        settings: LoaderSettings,
        world: World | None = None,
        cursor: Cursor | None = None,
    ) -> None:
        """Start at `cursor`, or at the beginning.

        Raises:
            ValueError: the cursor is of another seed, or of other samples or settings.
        """
        self.settings, self.world = settings, world or World()
        self.samples = len(source.clips)
        start = Cursor(settings.seed, self.samples, source_fingerprint(source, settings))
        if cursor is not None:
            _require_same(cursor, start)
        self.cursor = cursor or start
        self._source = source
        self._order = _order(source, settings)
        self._corrupt = _CorruptCount(settings.maximum_corrupt_clips, self.cursor.corrupt_keys)
        self._corrupt.add(source.corrupt)

    @property
    def epoch(self) -> float:
        """Epochs done, including the fraction of the current one."""
        return self.cursor.position / self.samples

    def __iter__(self) -> Iterator[AnyBatch]:
        slots = self._order.stream(self.cursor.position, self.settings.batch_size, self.world)
        for batch in _load(self._source, self.settings, slots):
            self._corrupt.add(batch.facts.corrupt)
            self.cursor = dataclasses.replace(
                self.cursor,
                position=self.cursor.position + self.settings.batch_size * self.world.ranks,
                corrupt_keys=self._corrupt.keys,
            )
            yield batch


def first_batches(source: Source[AnyBatch], settings: LoaderSettings, rows: int) -> Iterator[AnyBatch]:
    """The first batches of the stream, at least `rows` rows, read in this process.

    Of a fixed size, so that what is measured on them does not depend on the run's batch size even
    by rounding.
    """
    alone = settings.replace(batch_size=FIRST_BATCHES_ROWS, workers=0, pin_memory=False)
    read = 0
    for batch in BatchStream(source, alone):
        yield batch
        read += len(batch)
        if read >= rows:
            return


def single_pass(
    source: Source[AnyBatch], settings: LoaderSettings, world: World | None = None, epoch: int = 0
) -> Iterator[AnyBatch]:
    """Every sample once over all ranks, in the order of the index; the same number of batches on every rank.

    Padding rows of the last batches have `facts.real` False.

    Args:
        source: the samples.
        settings: `order` is not used.
        world: this rank.
        epoch: each epoch draws other frames and negatives.
    """
    order = _order(source, settings.replace(order=OrderSettings(shuffle=False)))
    slots = order.single_pass(settings.batch_size, world or World(), epoch)
    counted = _CorruptCount(settings.maximum_corrupt_clips, ())
    counted.add(source.corrupt)
    for batch in _load(source, settings, slots):
        counted.add(batch.facts.corrupt)
        yield batch


def source_fingerprint(source: Source[Any], settings: LoaderSettings) -> str:
    """Hash of the samples in order and of everything but the seed that decides what is drawn from them."""
    return fingerprint(
        {
            "kind": type(source).__name__,
            "split": source.index.split,
            "samples": [source.name(item) for item in range(len(source.clips))],
            "shards": source.index.shards[source.clips].tolist(),
            "frames": source.index.frame_counts.tolist(),
            "identities": source.index.identity_column.to_pylist(),
            "videos": source.index.video_column.to_pylist(),
            "settings": fingerprint(source.settings),
            "order": fingerprint(settings.order),
        }
    )


class _CorruptCount:
    """Keys of clips that cannot be read, up to a bound."""

    def __init__(self, maximum: int, keys: Sequence[str]) -> None:
        self._maximum = maximum
        self._keys = set(keys)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(sorted(self._keys))

    def add(self, members: Sequence[CorruptMember]) -> None:
        self._keys |= {member.key for member in members}
        if len(self._keys) > self._maximum:
            raise CorruptMemberError(
                f"{len(self._keys)} clips cannot be read, maximum_corrupt_clips is {self._maximum}: "
                f"{self.keys}; the last: {_describe(members[-1:])}"
            )


def _load(
    source: Source[AnyBatch], settings: LoaderSettings, slots: Iterator[list[Slot]]
) -> Iterator[AnyBatch]:
    loader = DataLoader(
        RowDataset(source, settings),
        batch_sampler=_Once(slots),
        collate_fn=BatchWriter[AnyBatch](settings.batch_size, settings.prefetch_batches),
        num_workers=settings.workers,
        prefetch_factor=settings.prefetch_batches if settings.workers else None,
        pin_memory=settings.pin_memory and not settings.workers,  # with workers the reader does it
        # A bucket's client does not survive a fork.
        multiprocessing_context="spawn" if settings.workers and source.index.remote is not None else None,
        # DataLoader would otherwise draw from torch's global generator and shift a resumed run's noise.
        generator=torch.Generator(),
    )
    if not settings.workers:
        yield from loader
        return
    reader = BatchReader[AnyBatch](pin_memory=settings.pin_memory)
    for shared in loader:
        yield reader(shared)


class _Once:
    """The slots as DataLoader's batch sampler, which iterates it once."""

    def __init__(self, slots: Iterator[list[Slot]]) -> None:
        self._slots = slots

    def __iter__(self) -> Iterator[list[Slot]]:
        return self._slots


def _order(source: Source[Any], settings: LoaderSettings) -> Order:
    return Order(source.index.shards[source.clips], settings.seed, settings.order)


def _require_same(cursor: Cursor, here: Cursor) -> None:
    for name in ("seed", "samples", "fingerprint"):
        saved, current = getattr(cursor, name), getattr(here, name)
        if saved != current:
            raise ValueError(f"the checkpoint's data cursor has {name} {saved}, this run has {current}")


def _describe(members: Sequence[CorruptMember]) -> str:
    return "; ".join(
        f"shard {member.shard}, sample {member.key}: member {member.member} {member.reason}"
        for member in members
    )
