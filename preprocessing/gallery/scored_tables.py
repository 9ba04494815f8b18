"""Tables of rows with scores: what bounds of settings judge, build by build, and joined over batches."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from preprocessing.anchors.bounds import ANCHOR_BOUNDS
from preprocessing.anchors.eye_anchors import ANCHORS_TABLE
from preprocessing.audio.lip_sync_filter import VERDICTS_TABLE
from preprocessing.clips.bounds import BOUND_OF_REASON, BOUNDS, SPEAKER_BOUNDS, SPEAKER_REASONS, Bound
from preprocessing.clips.store import CLIPS_TABLE
from preprocessing.gallery.tables import compute, read_columns
from preprocessing.labels.lip_sync import SCORES_TABLE
from preprocessing.schema import FRAMES_PER_SECOND
from preprocessing.table_filters import rows_valid
from storage.publishing import Published

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LIP_SYNC_BOUNDS: Final = (
    Bound(
        "lip_sync_low_confidence",
        "confidence",
        "lip_sync.minimum_confidence",
        "Lip sync confidence",
        "of the scorer; 0: no filter",
    ),
)
"""Of the step `shards`, by which its filter drops clips."""
CONFIDENCE_REASONS: Final = ("", "lip_sync_low_confidence", "lip_sync_not_scored")
_ARRAYS: Final = ("accepted", "judged", "scores", "thresholds", "seconds")
CLIP_COLUMNS: Final = (
    "batch",
    "key",
    "identity",
    "relative_path",
    "first_frame",
    "frames",
    "reason",
    "score",
    "threshold",
    "video_id",
    "offset_bytes",
    "size_bytes",
)
ANCHOR_COLUMNS: Final = (
    "batch",
    "place",  # row of its build's table
    "key",
    "base_frame",
    "identity",
    "eyes_key",
    "eyes_frame",
    "eyes_identity",
    "reason",
    "gaze_error_rad",
    "blink_error",
    "rest_error_px",
)


@dataclass(frozen=True)
class ScoredTable:
    """Rows with scores of a kind: clips, or composites of anchors; of one build or of several.

    Attributes:
        bounds: B thresholds that rows are judged by.
        columns: [N] rows of what is shown: `key`, `identity`, `batch`, `reason` and others.
        accepted: [N]
        judged: [N] whether the bounds decide; other reasons, such as too few frames, cannot be moved.
        scores: [N, B] NaN where there is none.
        thresholds: [N, B] that the rows were judged by; NaN where none.
        seconds: [N] duration.
    """

    bounds: tuple[Bound, ...]
    columns: pa.Table = field(repr=False)
    accepted: Bools = field(repr=False)
    judged: Bools = field(repr=False)
    scores: Floats = field(repr=False)
    thresholds: Floats = field(repr=False)
    seconds: Floats = field(repr=False)

    def __len__(self) -> int:
        return len(self.accepted)

    def failed(self, place: int, threshold: float | None = None) -> Bools:
        """[N] whether each row fails a bound: its own threshold, or another."""
        score = self.scores[:, place]
        limit = self.thresholds[:, place] if threshold is None else threshold
        # Comparisons with NaN are false: a score that is missing fails nothing.
        return score < limit if self.bounds[place].is_minimum else score > limit


def read_clips(published: Published) -> ScoredTable:
    """All candidates of a build of `clips`."""
    scores = list(dict.fromkeys(bound.score for bound in BOUNDS))
    shown = [name for name in CLIP_COLUMNS if name != "batch"]
    table = read_columns(published, CLIPS_TABLE, list(dict.fromkeys((*shown, "accepted", *scores))))
    accepted = table["accepted"].to_numpy()
    own_reasons = pa.array([*BOUND_OF_REASON])
    return ScoredTable(
        BOUNDS,
        _with_batch(table, published, CLIP_COLUMNS),
        accepted,
        accepted | compute.is_in(table["reason"], value_set=own_reasons).to_numpy(),
        _floats(table, BOUNDS),
        _thresholds(published, BOUNDS, table.num_rows),
        table["frames"].to_numpy() / FRAMES_PER_SECOND,
    )


def read_speakers(published: Published) -> ScoredTable:
    """The clips of a build with other faces in the picture, and how well their mouth goes with the sound.

    Where the clip alone does not explain the verdict, its shot did: such rows stay as they are.
    """
    scores = [bound.score for bound in SPEAKER_BOUNDS]
    shown = [name for name in CLIP_COLUMNS if name != "batch"]
    table = read_columns(published, CLIPS_TABLE, [*shown, "accepted", *scores])
    reason = pc.field("reason")
    ours = pc.field("accepted") | reason.isin(pa.array(SPEAKER_REASONS))
    table = table.filter(ours & pc.field(scores[0]).is_valid() & pc.field(scores[1]).is_valid())
    accepted = table["accepted"].to_numpy()
    values, limits = _floats(table, SPEAKER_BOUNDS), _thresholds(published, SPEAKER_BOUNDS, table.num_rows)
    return ScoredTable(
        SPEAKER_BOUNDS,
        _with_batch(table, published, CLIP_COLUMNS),
        accepted,
        accepted == ~(values < limits).any(axis=1),
        values,
        limits,
        table["frames"].to_numpy() / FRAMES_PER_SECOND,
    )


def read_lip_sync(shards: Published, clips: Published, scores: Published) -> ScoredTable:
    """The accepted clips of a batch by their lip sync confidence, which the filter of `shards` reads.

    A clip that was not scored has 0. One that the filter dropped for its video's offset stays as it is.
    """
    shown = [name for name in CLIP_COLUMNS if name != "batch"]
    table = read_columns(clips, CLIPS_TABLE, [*shown, "accepted"]).filter(pc.field("accepted"))
    scored = _rows_of(table, read_columns(scores, SCORES_TABLE, ["key", "confidence"]))
    dropped = pa.chunked_array([pa.array([""] * table.num_rows, pa.string())])
    if VERDICTS_TABLE in shards.manifest.files:  # written by a filter that is on
        verdicts = _rows_of(table, read_columns(shards, VERDICTS_TABLE, ["key", "refusal"]))
        dropped = compute.fill_null(verdicts["refusal"], "")
    place = table.column_names.index("reason")
    table = table.set_column(place, "reason", dropped)
    confidence = compute.fill_null(scored["confidence"].cast(pa.float64()), 0.0).to_numpy()
    return ScoredTable(
        LIP_SYNC_BOUNDS,
        _with_batch(table, shards, CLIP_COLUMNS),
        compute.equal(dropped, "").to_numpy(),
        compute.is_in(dropped, value_set=pa.array(CONFIDENCE_REASONS)).to_numpy(),
        np.maximum(confidence, 0.0)[:, None],
        _thresholds(shards, LIP_SYNC_BOUNDS, table.num_rows),
        table["frames"].to_numpy() / FRAMES_PER_SECOND,
    )


def _rows_of(table: pa.Table, other: pa.Table) -> pa.Table:
    """The rows of another table with the keys of a table, in its order; nulls where there is none."""
    return other.take(compute.index_in(table["key"], value_set=other["key"].combine_chunks()))


def read_anchors(published: Published) -> ScoredTable:
    """All composites of a build of `eye_anchors` that were measured."""
    shown = [name for name in ANCHOR_COLUMNS if name not in ("batch", "place")]
    table = read_columns(published, ANCHORS_TABLE, [*shown, "accepted"])
    table = table.append_column("place", pa.array(np.arange(table.num_rows, dtype=np.int64)))
    table = rows_valid(table, "rest_error_px")
    return ScoredTable(
        ANCHOR_BOUNDS,
        _with_batch(table, published, ANCHOR_COLUMNS),
        table["accepted"].to_numpy(),
        np.ones(table.num_rows, np.bool_),
        _floats(table, ANCHOR_BOUNDS),
        _thresholds(published, ANCHOR_BOUNDS, table.num_rows),
        np.zeros(table.num_rows),
    )


def _with_batch(table: pa.Table, published: Published, columns: Sequence[str]) -> pa.Table:
    batch = pa.array([published.manifest.partition] * table.num_rows, pa.string())
    return table.append_column("batch", batch).select(list(columns))


def _floats(table: pa.Table, bounds: Sequence[Bound]) -> Floats:
    columns = [
        compute.fill_null(table[bound.score].cast(pa.float64()), math.nan).to_numpy() for bound in bounds
    ]
    return np.stack(columns, axis=1)


def _thresholds(published: Published, bounds: Sequence[Bound], rows: int) -> Floats:
    """The thresholds that a build was made with; NaN where its settings lack one."""
    settings = published.manifest.settings
    row = [threshold_of(bound, settings) for bound in bounds]
    return np.tile(np.array(row, np.float64), (rows, 1))


def threshold_of(bound: Bound, settings: Mapping[str, Any]) -> float:
    """A threshold from settings as a manifest holds them; NaN where they lack it."""
    try:
        return bound.threshold(settings)
    except KeyError:
        return math.nan


def split(joined: ScoredTable, parts: Sequence[ScoredTable]) -> list[ScoredTable]:
    """Views of a joined table, of the lengths of its parts."""
    ends = np.cumsum([len(part) for part in parts]).tolist()
    spans = [slice(end - len(part), end) for end, part in zip(ends, parts, strict=True)]
    return [
        ScoredTable(
            joined.bounds,
            joined.columns.slice(span.start, span.stop - span.start),
            *(getattr(joined, name)[span] for name in _ARRAYS),
        )
        for span in spans
    ]


def join(parts: Sequence[ScoredTable], bounds: tuple[Bound, ...], columns: Sequence[str]) -> ScoredTable:
    """The rows of several tables in one; without any, a table without rows."""
    if not parts:
        no_columns = pa.table({name: pa.array([], pa.string()) for name in columns})
        no_rows, no_scores = np.zeros(0, np.bool_), np.zeros((0, len(bounds)))
        return ScoredTable(bounds, no_columns, no_rows, no_rows, no_scores, no_scores, np.zeros(0))
    return ScoredTable(
        bounds,
        pa.concat_tables([part.columns for part in parts]).combine_chunks(),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS),
    )
