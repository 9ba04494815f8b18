"""Batches: fixed groups of videos, each a Dagster partition, assigned once and never changed."""

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
    """Size of a batch."""

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
    """Assign a batch to every accepted, present video that has none; no other row changes.

    Identities stay whole, in the order of their names, except that one with more than
    `videos_per_batch` new videos is split into equal parts, which go to different batches as far as
    other identities fill them. New videos, also of known identities, form new batches. A batch has
    fewer identities than `minimum_identities` only if this call has no others left. The same rows
    give the same batches, whatever their order.

    Args:
        table: of `catalog.CATALOG_SCHEMA`.
        settings: sizes.

    Returns:
        The table with `batch` filled in: `b<number>-<8 hex digits of its video ids>`, numbered
        from the highest existing batch on, so that names sort by age.
    """
    rows = table.select(["video_id", "identity", "status", "present", "batch"]).to_pylist()
    new_videos: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["status"] == ACCEPTED and row["present"] and row["batch"] is None:
            new_videos[row["identity"]].append(row["video_id"])
    first_number = 1 + max((_number_of(row["batch"]) for row in rows if row["batch"] is not None), default=-1)
    batch_of: dict[str, str] = {}
    for number, batch in enumerate(_group(new_videos, settings), start=first_number):
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


def _group(new_videos: dict[str, list[str]], settings: BatchSettings) -> list[_NewBatch]:
    batches: list[_NewBatch] = []
    current = _NewBatch()
    parts = _split_large(new_videos, settings.videos_per_batch)
    remaining = Counter(identity for identity, _ in parts)
    for identity, video_ids in parts:
        is_full = len(current.video_ids) + len(video_ids) > settings.videos_per_batch
        if current.video_ids and is_full and _has_enough_identities(current, remaining, settings):
            batches.append(current)
            current = _NewBatch()
        remaining[identity] -= 1
        current.identities.add(identity)
        current.video_ids.extend(video_ids)
    merged_size = len(current.video_ids) + (len(batches[-1].video_ids) if batches else 0)
    too_few = len(current.identities) < settings.minimum_identities
    if batches and too_few and merged_size <= 2 * settings.videos_per_batch:
        # A last batch with too few identities is merged into the one before.
        batches[-1].identities |= current.identities
        batches[-1].video_ids.extend(current.video_ids)
    elif current.video_ids:
        batches.append(current)
    return batches


def _has_enough_identities(batch: _NewBatch, remaining: Counter[str], settings: BatchSettings) -> bool:
    """Whether `batch` has `minimum_identities`, or no other identity is left."""
    if len(batch.identities) >= settings.minimum_identities:
        return True
    return not any(count and identity not in batch.identities for identity, count in remaining.items())


def _split_large(new_videos: dict[str, list[str]], videos_per_batch: int) -> list[tuple[str, list[str]]]:
    """(identity, videos) pairs; of large identities all first parts, then all second parts, and so on."""
    parts: list[tuple[int, str, list[str]]] = []
    for identity, video_ids in sorted(new_videos.items()):
        ordered = sorted(video_ids)
        size = ceil(len(ordered) / ceil(len(ordered) / videos_per_batch))
        parts += [
            (part, identity, ordered[start : start + size])
            for part, start in enumerate(range(0, len(ordered), size))
        ]
    return [(identity, video_ids) for _, identity, video_ids in sorted(parts)]
