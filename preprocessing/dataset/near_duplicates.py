"""Videos that hold the same recording: found by landmarks of their sound and of the motion of their faces.

The landmarks of a batch (`recording_landmarks.parquet`, sorted by hash) are compared in passes over ranges of
hashes, so that memory is bounded whatever the number of videos; the work grows with the number of landmarks,
not with that of pairs of videos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from preprocessing.audio.sound_landmarks import LANDMARKS_SCHEMA, MOTION_BIT, TIME_SECONDS
from preprocessing.dataset.index import main_identity
from preprocessing.schema import FRAMES_PER_SECOND
from preprocessing.table_schema import column, table_schema

NEAR_DUPLICATES_TABLE: Final = "near_duplicates.parquet"
NEAR_DUPLICATES_SCHEMA: Final = table_schema(
    column("video_id", pa.string(), "first 16 hex digits of the source's sha256"),
    column("other_video_id", pa.string(), "the video that holds the same recording"),
    column("found_by", pa.string(), "sound, or motion of the face where the sounds differ"),
    column("landmarks", pa.int64(), "landmarks that both have at this distance"),
    column("seconds", pa.float64(), "between the first and the last of them"),
    column("offset_seconds", pa.float64(), "of the first in the video less that in the other one"),
)
LANDMARKS_A_PASS: Final = 8_000_000  # about 200 MB
MAXIMUM_OCCURRENCES: Final = 64  # of a hash; one that is more frequent tells nothing


@dataclass(frozen=True)
class _Evidence:
    """What one kind of landmarks needs to tell that two videos are of one recording."""

    name: Literal["sound", "motion"]
    minimum_landmarks: int
    minimum_seconds: float  # from the first to the last
    unit_seconds: float  # of their times


# A word that one person says twice has up to 4; 2 s of a clip may hold little speech.
SOUND: Final = _Evidence("sound", 6, 0.3, TIME_SECONDS)
# Of 4,095 pairs of different videos up to 21 over less than .45 s, and up to 8 over more than .8 s.
MOTION: Final = _Evidence("motion", 16, 0.8, 1.0 / FRAMES_PER_SECOND)
_MOTION_PAIR: Final = 1 << 62  # marks a pair whose matches are motion


@dataclass(frozen=True)
class NearDuplicate:
    """Two videos with the same recording."""

    video_id: str
    other_video_id: str
    found_by: Literal["sound", "motion"]
    landmarks: int
    seconds: float
    offset_seconds: float


@dataclass(frozen=True)
class _Matches:
    """Landmarks that two videos share."""

    pair: NDArray[np.int64]  # [N] first << 32 | second, with `_MOTION_PAIR` for motion
    offset: NDArray[np.int32]  # [N] time in the first video less that in the second
    time: NDArray[np.int32]  # [N] in the first


def find_near_duplicates(
    tables: Sequence[Path], landmarks_a_pass: int = LANDMARKS_A_PASS
) -> list[NearDuplicate]:
    """Pairs of videos with the same recording, sorted by their ids.

    Args:
        tables: `recording_landmarks.parquet` of every batch.
        landmarks_a_pass: about how many are held at once.
    """
    numbers: dict[str, int] = {}
    count = sum(pq.read_metadata(table).num_rows for table in tables)
    found = [_no_matches()]
    for first, last in _ranges(tables, -(-count // landmarks_a_pass)):
        parts = [_read_range(table, first, last, numbers) for table in tables]
        hashes, videos, times = (np.concatenate(each) for each in zip(*parts, strict=True))
        found.append(_matches(hashes, videos, times))
    pair = np.concatenate([each.pair for each in found])
    offset = np.concatenate([each.offset for each in found])
    time = np.concatenate([each.time for each in found])
    order = np.lexsort((time, offset, pair))
    names = {number: video_id for video_id, number in numbers.items()}
    pairs: dict[tuple[str, str], NearDuplicate] = {}
    for each in _aligned(_Matches(pair[order], offset[order], time[order]), names):
        pairs.setdefault((each.video_id, each.other_video_id), each)  # by sound first
    return [pairs[pair] for pair in sorted(pairs)]


def near_duplicates_table(found: Sequence[NearDuplicate]) -> pa.Table:
    """A row for each pair."""
    return pa.Table.from_pylist([asdict(each) for each in found], schema=NEAR_DUPLICATES_SCHEMA)


def named_copies(found: Sequence[NearDuplicate], index: pa.Table) -> list[tuple[str, str, float]]:
    """Both videos of each pair in the data set's index, with their main identities, and the seconds."""
    columns = (index[name].to_pylist() for name in ("video_id", "identity", "key"))
    names = {
        video_id: f"{video_id} ({main_identity(identity, key)})"
        for video_id, identity, key in zip(*columns, strict=True)
    }
    return [
        (names[each.video_id], names[each.other_video_id], each.seconds)
        for each in found
        if each.video_id in names and each.other_video_id in names
    ]


def _no_matches() -> _Matches:
    return _Matches(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32))


def _ranges(tables: Sequence[Path], passes: int) -> list[tuple[int, int]]:
    """First and last hash of each pass, by the quantiles of the largest batch."""
    if passes <= 0:
        return []
    largest = max(tables, key=lambda table: pq.read_metadata(table).num_rows)
    hashes = pq.read_table(largest, columns=["hash"])["hash"].to_numpy()
    places = np.linspace(0, len(hashes) - 1, passes + 1).astype(int)[1:-1]
    edges = [0, *sorted({int(edge) for edge in hashes[places]} - {0}), 2**32]
    return [(first, end - 1) for first, end in pairwise(edges)]


def _read_range(
    table: Path, first: int, last: int, numbers: dict[str, int]
) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int32]]:
    rows = pq.read_table(
        table, schema=LANDMARKS_SCHEMA, filters=[("hash", ">=", first), ("hash", "<=", last)]
    ).combine_chunks()
    ids = rows["video_id"].combine_chunks()
    ids = ids.chunk(0) if isinstance(ids, pa.ChunkedArray) else ids
    own = np.array([numbers.setdefault(each, len(numbers)) for each in ids.dictionary.to_pylist()], np.int64)
    videos = own[ids.indices.to_numpy()] if len(own) else np.zeros(0, np.int64)
    return rows["hash"].to_numpy(), videos, rows["time"].to_numpy()


def _matches(hashes: NDArray[np.uint32], videos: NDArray[np.int64], times: NDArray[np.int32]) -> _Matches:
    order = np.lexsort((videos, hashes))
    hashes, videos, times = hashes[order], videos[order], times[order]
    _, counts = np.unique(hashes, return_counts=True)
    of_run = np.repeat(counts, counts)
    kept = (of_run > 1) & (of_run <= MAXIMUM_OCCURRENCES)
    hashes, videos, times = hashes[kept], videos[kept], times[kept]
    found = [_no_matches()]
    for step in range(1, MAXIMUM_OCCURRENCES):
        is_same = hashes[step:] == hashes[:-step]
        if not is_same.any():
            break
        same = np.flatnonzero(is_same & (videos[step:] != videos[:-step]))
        one, other = videos[same], videos[same + step]
        offset = times[same] - times[same + step]
        motion = np.where(hashes[same] >= MOTION_BIT, _MOTION_PAIR, 0)
        found.append(_Matches((one << 32) | other | motion, offset, times[same]))
    return _Matches(
        np.concatenate([each.pair for each in found]),
        np.concatenate([each.offset for each in found]),
        np.concatenate([each.time for each in found]),
    )


def _aligned(matches: _Matches, names: Mapping[int, str]) -> list[NearDuplicate]:
    """Pairs with enough landmarks at one distance, those by sound first.

    A distance is uncertain by one unit, since the copy's spectra or pictures lie at other places.
    """
    found: list[NearDuplicate] = []
    pairs, starts, counts = np.unique(matches.pair, return_index=True, return_counts=True)
    many = counts >= min(SOUND.minimum_landmarks, MOTION.minimum_landmarks)
    for pair, start, count in zip(pairs[many], starts[many], counts[many], strict=True):
        evidence = MOTION if int(pair) & _MOTION_PAIR else SOUND
        offset, time = matches.offset[start : start + count], matches.time[start : start + count]
        ends = np.searchsorted(offset, offset + 1, side="right")
        best = int((ends - np.arange(count)).argmax())
        alike = time[best : ends[best]]
        seconds = float(alike.max() - alike.min()) * evidence.unit_seconds
        if len(alike) >= evidence.minimum_landmarks and seconds >= evidence.minimum_seconds:
            distance = float(np.median(offset[best : ends[best]])) * evidence.unit_seconds
            one, other = (names[(int(pair) & ~_MOTION_PAIR) >> 32], names[int(pair) & 0xFFFFFFFF])
            if one > other:
                one, other, distance = other, one, -distance
            found.append(NearDuplicate(one, other, evidence.name, len(alike), seconds, distance))
    return found
