"""What the gallery knows of every clip and anchor: scores, reasons, people, ranges of labels.

Each build's columns are read once, when they are first asked for, and kept as arrays; a changed batch alone
is read again. A hundred thousand clips with twice as many anchors take about 190 MB.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from upath import UPath

from preprocessing.anchors.bounds import ANCHOR_BOUNDS
from preprocessing.anchors.eye_anchors import ANCHORS_TABLE
from preprocessing.clips.bounds import BOUND_OF_REASON, BOUNDS, Bound
from preprocessing.clips.store import CLIPS_TABLE
from preprocessing.gallery.tables import compute, read_columns
from preprocessing.labels.lip_sync import SCORES_TABLE
from preprocessing.labels.tables import LABELS_TABLE
from preprocessing.schema import FRAMES_PER_SECOND
from storage.objects import entries, is_local
from storage.pointer import read_pointer
from storage.printable import printable
from storage.publishing import ASSETS, Published, current

logger = logging.getLogger(__name__)

DAMAGED_SECONDS: Final = 10.0  # until a build that could not be read is tried again
LOCAL_SECONDS: Final = 2.0  # between looks for changed builds
BUCKET_SECONDS: Final = 60.0
BUCKET_THREADS: Final = 32

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


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


@dataclass(frozen=True)
class LabelRange:
    """A label whose range over a clip's frames can be asked for."""

    name: str
    title: str
    unit: str
    step: str
    table: str
    columns: tuple[str, ...]  # the largest of them, frame by frame
    scale: float = 1.0


_DEGREES: Final = 180.0 / math.pi
LABELS: Final = (
    LabelRange("yaw", "head yaw (+ image right)", "°", "pose_labels", LABELS_TABLE, ("yaw_rad",), _DEGREES),
    LabelRange("pitch", "head pitch (+ down)", "°", "pose_labels", LABELS_TABLE, ("pitch_rad",), _DEGREES),
    LabelRange(
        "roll", "head roll (+ anticlockwise)", "°", "pose_labels", LABELS_TABLE, ("roll_rad",), _DEGREES
    ),
    LabelRange("gaze_yaw", "gaze yaw", "°", "gaze_labels", LABELS_TABLE, ("yaw_rad",), _DEGREES),
    LabelRange("gaze_pitch", "gaze pitch", "°", "gaze_labels", LABELS_TABLE, ("pitch_rad",), _DEGREES),
    LabelRange(
        "blink", "blink (0 open, 1 shut)", "", "gaze_labels", LABELS_TABLE, ("blink_left", "blink_right")
    ),
    LabelRange("confidence", "lip sync confidence", "", "lip_sync_scores", SCORES_TABLE, ("confidence",)),
    LabelRange("offset", "lip sync offset", "frames", "lip_sync_scores", SCORES_TABLE, ("offset_frames",)),
)
LABEL_NAMED: Final[Mapping[str, LabelRange]] = {label.name: label for label in LABELS}
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


class GalleryIndex:
    """The clips and anchors of every batch below a root; unreadable builds are left out, and named."""

    def __init__(self, root: UPath) -> None:
        self.root = root
        self._lock = RLock()
        self._seen: dict[str, tuple[float, dict[str, Published]]] = {}
        self._parts: dict[tuple[str, str], Any] = {}  # (what, location of a build) -> what was read of it
        self._joined: dict[str, tuple[tuple[str, ...], Any]] = {}  # what -> (locations, joined parts)
        self._damaged: dict[tuple[str, str], tuple[float, str]] = {}  # (what, batch) -> (seen at, sentence)

    def builds(self, step: str) -> dict[str, Published]:
        """Batch -> its current build of a step; looked up again after some seconds."""
        with self._lock:
            seen, known = self._seen.get(step, (-math.inf, {}))
            if time.monotonic() - seen >= self._wait():
                known = self._look_up(step, known)
                self._seen[step] = (time.monotonic(), known)
            return known

    def damaged(self) -> list[str]:
        """A line for every build that could not be read when it was last tried, some seconds ago."""
        oldest = time.monotonic() - 2 * max(DAMAGED_SECONDS, self._wait())
        with self._lock:
            return sorted({line for seen, line in self._damaged.values() if seen >= oldest})

    def clips(self) -> ScoredTable:
        """All candidates, accepted and refused, by batch and key."""
        return self._joined_parts(
            "clips", "clips", _read_clips, lambda parts: _join(parts, BOUNDS, CLIP_COLUMNS)
        )

    def anchors(self) -> ScoredTable:
        """All composites that were measured, by batch and clip."""
        return self._joined_parts(
            "anchors", "eye_anchors", _read_anchors, lambda parts: _join(parts, ANCHOR_BOUNDS, ANCHOR_COLUMNS)
        )

    def label_range(self, label: LabelRange) -> tuple[Floats, Floats]:
        """Smallest and largest value [N] of a label over the frames of each row of `clips`; NaN: no label."""
        with self._lock:
            keys = self.clips().columns["key"]
            ranges: pa.Table = self._joined_parts(
                label.name, label.step, lambda build: _read_range(build, label), _join_ranges
            )
            place = compute.index_in(keys, value_set=ranges["key"].combine_chunks())
            found = ranges.take(place)
            return found["value_min"].to_numpy(), found["value_max"].to_numpy()

    def _joined_parts(
        self,
        what: str,
        step: str,
        read: Callable[[Published], Any],
        join: Callable[[list[Any]], Any],
    ) -> Any:
        """What was read of all builds of a step, in one; builds that are known are not read again."""
        with self._lock:
            parts = {
                build.location: part
                for build in self.builds(step).values()
                if (part := self._part(what, build, read)) is not None
            }
            made_of = tuple(parts)
            known = self._joined.get(what)
            if known is None or known[0] != made_of:
                joined = join([*parts.values()])
                if isinstance(joined, ScoredTable):  # the parts become views of it: nothing is held twice
                    parts = dict(zip(parts, _split(joined, [*parts.values()]), strict=True))
                self._parts = {name: part for name, part in self._parts.items() if name[0] != what}
                self._parts |= {(what, location): part for location, part in parts.items()}
                self._joined[what] = known = (made_of, joined)
            return known[1]

    def _part(self, what: str, build: Published, read: Callable[[Published], Any]) -> Any | None:
        """What was read of a build, known or read now; None where it cannot be read."""
        known = self._parts.get((what, build.location))
        batch = build.manifest.partition
        seen, _ = self._damaged.get((what, batch), (-math.inf, ""))
        if known is not None or time.monotonic() - seen < DAMAGED_SECONDS:
            return known
        try:
            part = read(build)
        except (ValueError, OSError, KeyError) as error:  # also pyarrow's
            self._note_damaged(what, batch, f"{printable(build.location)} cannot be read ({error})")
            return None
        self._damaged.pop((what, batch), None)
        return part

    def _note_damaged(self, what: str, batch: str, line: str) -> None:
        if (what, batch) not in self._damaged:
            logger.warning("Left out of the gallery: %s", line)
        self._damaged[what, batch] = time.monotonic(), line

    def _wait(self) -> float:
        return LOCAL_SECONDS if is_local(self.root) else BUCKET_SECONDS

    def _look_up(self, step: str, known: Mapping[str, Published]) -> dict[str, Published]:
        location = f"{ASSETS}/{step}"
        names = [entry.name for entry in entries(self.root, location) if entry.is_directory]

        def look(batch: str) -> Published | None:
            try:
                pointer = read_pointer(self.root / location / batch)
                before = known.get(batch)
                if before is not None and pointer is not None and pointer.directory == before.directory.name:
                    return before
                build = current(self.root, step, batch)
            except (ValueError, OSError) as error:
                self._note_damaged(f"{step}/", batch, str(error))
                return None
            self._damaged.pop((f"{step}/", batch), None)
            return build

        with ThreadPoolExecutor(1 if is_local(self.root) else BUCKET_THREADS) as pool:
            found = zip(names, pool.map(look, names), strict=True)
            return {batch: build for batch, build in found if build is not None}


def _read_clips(published: Published) -> ScoredTable:
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


def _read_anchors(published: Published) -> ScoredTable:
    shown = [name for name in ANCHOR_COLUMNS if name not in ("batch", "place")]
    table = read_columns(published, ANCHORS_TABLE, [*shown, "accepted"])
    table = table.append_column("place", pa.array(np.arange(table.num_rows, dtype=np.int64)))
    table = table.filter(pc.field("rest_error_px").is_valid())
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


def _split(joined: ScoredTable, parts: Sequence[ScoredTable]) -> list[ScoredTable]:
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


def _join(parts: Sequence[ScoredTable], bounds: tuple[Bound, ...], columns: Sequence[str]) -> ScoredTable:
    if not parts:
        no_columns = pa.table({name: pa.array([], pa.string()) for name in columns})
        no_rows, no_scores = np.zeros(0, np.bool_), np.zeros((0, len(bounds)))
        return ScoredTable(bounds, no_columns, no_rows, no_rows, no_scores, no_scores, np.zeros(0))
    return ScoredTable(
        bounds,
        pa.concat_tables([part.columns for part in parts]).combine_chunks(),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS),
    )


def _join_ranges(parts: list[pa.Table]) -> pa.Table:
    kinds = {"key": pa.string(), "value_min": pa.float64(), "value_max": pa.float64()}
    return pa.concat_tables(parts) if parts else pa.schema(kinds).empty_table()


def _read_range(published: Published, label: LabelRange) -> pa.Table:
    """`key`, `value_min`, `value_max` of the clips of a build."""
    table = read_columns(published, label.table, ["key", *label.columns])
    value = compute.max_element_wise(*(table[name].cast(pa.float64()) for name in label.columns))
    scaled = pa.table({"key": table["key"], "value": compute.multiply(value, label.scale)})
    return scaled.group_by("key").aggregate([("value", "min"), ("value", "max")])
