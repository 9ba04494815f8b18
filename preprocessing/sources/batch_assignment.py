"""Batches: fixed groups of videos, each a Dagster partition, dealt once and never again."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

import pyarrow as pa
from pydantic import Field

from preprocessing.sources.catalog import ACCEPTED
from storage.settings import Settings


class BatchSettings(Settings):
    """How many videos and persons make a batch."""

    videos_per_batch: int = Field(
        default=256,
        ge=1,
        description="Target number of videos; identities stay whole, so a batch may be about twice as large",
    )
    minimum_identities: int = Field(
        default=4,
        ge=1,
        description="Minimum number of identities, so that eye anchors can combine identities of one batch",
    )


@dataclass
class _NewBatch:
    identities: set[str] = field(default_factory=set)
    video_ids: list[str] = field(default_factory=list)


def assign_batches(table: pa.Table, settings: BatchSettings) -> pa.Table:
    """Give every accepted, present video without a batch one; no other row changes.

    Persons stay whole, in the order of their names, except that one with more than
    `videos_per_batch` new videos is split into equal parts that go to different batches where there
    are other persons to fill them. New videos, also of known persons, form new batches. Fewer
    persons than `minimum_identities` are in a batch only if this call had no more to deal. The
    same rows give the same batches, whatever their order.

    Args:
        table: of `catalog.CATALOG_SCHEMA`.
        settings: sizes.

    Returns:
        The table with `batch` filled in: `b<number>-<8 hex digits of its video ids>`, numbers
        going on after the highest there is, so that names sort by age.
    """
    rows = table.select(["video_id", "identity", "status", "present", "batch"]).to_pylist()
    new_videos: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["status"] == ACCEPTED and row["present"] and row["batch"] is None:
            new_videos[row["identity"]].append(row["video_id"])
    first_number = 1 + max((_number_of(row["batch"]) for row in rows if row["batch"] is not None), default=-1)
    batch_of: dict[str, str] = {}
    for number, batch in enumerate(_deal(new_videos, settings), start=first_number):
        key = batch_key(number, batch.video_ids)
        batch_of.update(dict.fromkeys(batch.video_ids, key))
    is_new = [row["status"] == ACCEPTED and row["batch"] is None for row in rows]
    batches = [
        batch_of.get(row["video_id"]) if new else row["batch"] for row, new in zip(rows, is_new, strict=True)
    ]
    index = table.schema.get_field_index("batch")
    return table.set_column(index, table.schema.field(index), pa.array(batches, pa.string()))


def batch_key(number: int, video_ids: Sequence[str]) -> str:
    """Name of a batch, such as `b00012-9f86d081`: no dots, sortable up to 100,000 batches."""
    digest = hashlib.sha256("\n".join(sorted(video_ids)).encode()).hexdigest()
    return f"b{number:05d}-{digest[:8]}"


def _number_of(key: str) -> int:
    return int(key[1:].split("-", maxsplit=1)[0])


def _deal(new_videos: dict[str, list[str]], settings: BatchSettings) -> list[_NewBatch]:
    batches: list[_NewBatch] = []
    current = _NewBatch()
    parts = _whole_or_parts(new_videos, settings.videos_per_batch)
    left = Counter(identity for identity, _ in parts)
    for identity, video_ids in parts:
        is_full = len(current.video_ids) + len(video_ids) > settings.videos_per_batch
        if current.video_ids and is_full and _has_persons_enough(current, left, settings):
            batches.append(current)
            current = _NewBatch()
        left[identity] -= 1
        current.identities.add(identity)
        current.video_ids.extend(video_ids)
    joined = len(current.video_ids) + (len(batches[-1].video_ids) if batches else 0)
    too_few = len(current.identities) < settings.minimum_identities
    if batches and too_few and joined <= 2 * settings.videos_per_batch:
        # A last batch of too few persons could hardly cross identities; the one before takes them.
        batches[-1].identities |= current.identities
        batches[-1].video_ids.extend(current.video_ids)
    elif current.video_ids:
        batches.append(current)
    return batches


def _has_persons_enough(batch: _NewBatch, left: Counter[str], settings: BatchSettings) -> bool:
    """Whether `batch` has its persons, or no other person is left to deal."""
    if len(batch.identities) >= settings.minimum_identities:
        return True
    return not any(count and identity not in batch.identities for identity, count in left.items())


def _whole_or_parts(new_videos: dict[str, list[str]], videos_per_batch: int) -> list[tuple[str, list[str]]]:
    """Persons with their videos, whole; of very large ones the first parts come first, then the second."""
    parts: list[tuple[int, str, list[str]]] = []
    for identity, video_ids in sorted(new_videos.items()):
        ordered = sorted(video_ids)
        size = ceil(len(ordered) / ceil(len(ordered) / videos_per_batch))
        parts += [
            (turn, identity, ordered[start : start + size])
            for turn, start in enumerate(range(0, len(ordered), size))
        ]
    return [(identity, video_ids) for _, identity, video_ids in sorted(parts)]
