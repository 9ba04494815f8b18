"""What the gallery knows of every clip and anchor: scores, reasons, people, ranges of labels.

Each build's columns are read once, when they are first asked for, and kept as arrays; a changed batch alone
is read again. A hundred thousand clips with twice as many anchors take about 190 MB.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import RLock
from typing import Any, Final

import pyarrow as pa
from upath import UPath

from preprocessing.anchors.bounds import ANCHOR_BOUNDS
from preprocessing.clips.bounds import BOUNDS, SPEAKER_BOUNDS
from preprocessing.gallery.scored_tables import (
    ANCHOR_COLUMNS,
    CLIP_COLUMNS,
    LIP_SYNC_BOUNDS,
    Floats,
    ScoredTable,
    join,
    read_anchors,
    read_clips,
    read_lip_sync,
    read_speakers,
    split,
)
from preprocessing.gallery.tables import compute, read_columns
from preprocessing.labels.lip_sync import SCORES_TABLE
from preprocessing.labels.tables import LABELS_TABLE
from storage.objects import entries, is_local
from storage.pointer import read_pointer
from storage.printable import printable
from storage.publishing import ASSETS, Published, current

logger = logging.getLogger(__name__)

DAMAGED_SECONDS: Final = 10.0  # until a build that could not be read is tried again
LOCAL_SECONDS: Final = 2.0  # between looks for changed builds
BUCKET_SECONDS: Final = 60.0
BUCKET_THREADS: Final = 32


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
            "clips", "clips", read_clips, lambda parts: join(parts, BOUNDS, CLIP_COLUMNS)
        )

    def anchors(self) -> ScoredTable:
        """All composites that were measured, by batch and clip."""
        return self._joined_parts(
            "anchors", "eye_anchors", read_anchors, lambda parts: join(parts, ANCHOR_BOUNDS, ANCHOR_COLUMNS)
        )

    def speakers(self) -> ScoredTable:
        """Clips with other faces in the picture, by batch and key."""
        return self._joined_parts(
            "speakers", "clips", read_speakers, lambda parts: join(parts, SPEAKER_BOUNDS, CLIP_COLUMNS)
        )

    def lip_sync(self) -> ScoredTable:
        """Accepted clips of the batches that have shards, by batch and key."""
        clips, scores = self.builds("clips"), self.builds("lip_sync_scores")

        def read(shards: Published) -> ScoredTable:
            batch = shards.manifest.partition
            return read_lip_sync(shards, clips[batch], scores[batch])

        return self._joined_parts(
            "lip_sync", "shards", read, lambda parts: join(parts, LIP_SYNC_BOUNDS, CLIP_COLUMNS)
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
                    parts = dict(zip(parts, split(joined, [*parts.values()]), strict=True))
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


def _join_ranges(parts: list[pa.Table]) -> pa.Table:
    kinds = {"key": pa.string(), "value_min": pa.float64(), "value_max": pa.float64()}
    return pa.concat_tables(parts) if parts else pa.schema(kinds).empty_table()


def _read_range(published: Published, label: LabelRange) -> pa.Table:
    """`key`, `value_min`, `value_max` of the clips of a build."""
    table = read_columns(published, label.table, ["key", *label.columns])
    value = compute.max_element_wise(*(table[name].cast(pa.float64()) for name in label.columns))
    scaled = pa.table({"key": table["key"], "value": compute.multiply(value, label.scale)})
    return scaled.group_by("key").aggregate([("value", "min"), ("value", "max")])
