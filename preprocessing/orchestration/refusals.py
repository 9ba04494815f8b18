"""Every refused video, clip and anchor: file, time, reason, score and bound, out of what is published.

The rows are read in parts and passed on one at a time, so that a million of them need little memory.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from preprocessing.anchors.bounds import ANCHOR_BOUND_OF_REASON, ANCHOR_BOUNDS
from preprocessing.anchors.eye_anchors import ANCHORS_TABLE
from preprocessing.audio.lip_sync_filter import VERDICTS_TABLE
from preprocessing.clips.bounds import BOUND_OF_REASON
from preprocessing.clips.store import CLIPS_TABLE
from preprocessing.labellers.failed_clips import FAILED_TABLE
from preprocessing.labels.lip_sync import SCORES_TABLE
from preprocessing.schema import FRAMES_PER_SECOND
from preprocessing.sources.catalog import ACCEPTED, FAILED
from preprocessing.sources.stored_catalog import batch_keys, load_catalog
from preprocessing.table_filters import rows_unequal
from storage.objects import is_local, local_path, read_bytes
from storage.publishing import Published, current

ROWS_AT_ONCE: Final = 16_384
SOURCE_VIDEOS: Final = "source_videos"
UNITS: Final[Mapping[str, str]] = {
    "not_the_main_face": "px",  # size of the face
    "not_the_listed_face": "px",
    "not_the_speaker": "correlation",
    "speaker_unsure": "correlation",
}
"""Of the scores of reasons without a bound that can be moved; of others it is their number of frames."""
_PLACE_IN_KEY: Final = re.compile(r"([0-9a-f]+)-t\d+-f(\d+)")


@dataclass(frozen=True)
class Refusal:
    """Something that was refused."""

    step: str
    batch: str  # "" where a video is in none
    file: str  # below the scanned folder
    start_seconds: float | None  # in the file; None for the whole file
    reason: str
    score: float | None = None
    bound: float | None = None
    unit: str = ""  # of score and bound
    detail: str = ""  # in a sentence, where there is one
    key: str = ""  # of the clip

    @property
    def distance(self) -> float:
        """How far the score is from the bound, as a share of the larger of both; infinite without either."""
        if self.score is None or self.bound is None:
            return math.inf
        return abs(self.score - self.bound) / max(abs(self.score), abs(self.bound), 1e-9)


def refusals(
    root: UPath, steps: Sequence[str] = (), batches: Sequence[str] = (), reason: str = ""
) -> Iterator[Refusal]:
    """All refusals: of the catalog, then by batch and step.

    Args:
        root: from `open_root`.
        steps: keys of `STEPS_WITH_REFUSALS`; empty for all.
        batches: keys; empty for all, and then also videos in no batch.
        reason: only these; empty for all.

    Raises:
        ValueError: an unknown step or batch.
    """
    _refuse_unknown("step", steps, STEPS_WITH_REFUSALS)
    keys = batch_keys(root)
    _refuse_unknown("batch", batches, keys)
    files = _files_of_videos(root)
    wanted = list(steps or STEPS_WITH_REFUSALS)
    found = _of_all(root, wanted, batches or keys, files)
    if SOURCE_VIDEOS in wanted:
        yield from (each for each in _of_catalog(root, batches) if reason in ("", each.reason))
    yield from (each for each in found if reason in ("", each.reason))


def refusals_of_build(root: UPath, published: Published) -> Iterator[Refusal]:
    """The refusals of one build of a step; none for a step that refuses nothing."""
    read = _READERS.get(published.manifest.asset)
    if read is not None:
        yield from read(published, _files_of_videos(root, published.manifest.partition))


def catalog_refusals(root: UPath) -> Iterator[Refusal]:
    """The refusals of the catalog."""
    return _of_catalog(root, ())


def _of_all(
    root: UPath, steps: Sequence[str], batches: Sequence[str], files: Mapping[str, str]
) -> Iterator[Refusal]:
    for batch in batches:
        for step in steps:
            published = current(root, step, batch) if step in _READERS else None
            if published is not None:
                yield from _READERS[step](published, files)


def _of_catalog(root: UPath, batches: Sequence[str]) -> Iterator[Refusal]:
    catalog = load_catalog(root)
    if catalog is None:
        return
    refused = rows_unequal(catalog, "status", ACCEPTED)
    for part in refused.select(["batch", "relative_path", "reason", "detail"]).to_batches(ROWS_AT_ONCE):
        for row in part.to_pylist():
            if not batches or row["batch"] in batches:
                yield Refusal(
                    SOURCE_VIDEOS,
                    row["batch"] or "",
                    row["relative_path"],
                    None,
                    row["reason"],
                    detail=row["detail"],
                )


def _of_face_tracks(published: Published, files: Mapping[str, str]) -> Iterator[Refusal]:
    manifest = published.manifest
    for name in manifest.files:
        if not name.endswith("/video.json"):
            continue
        facts: dict[str, Any] = json.loads(read_bytes(published.directory / name))
        if facts["refused"]:
            file = files.get(facts["video_id"], facts["video_id"])
            yield Refusal(
                "face_tracks", manifest.partition, file, None, facts["refused"], detail=facts["detail"]
            )


def _of_clips(published: Published, _: Mapping[str, str]) -> Iterator[Refusal]:
    names = ("key", "relative_path", "first_frame", "accepted", "reason", "score", "threshold")
    details = dict(_failures(published))
    for row in _rows(published, CLIPS_TABLE, names, ~pc.field("accepted")):
        bound = BOUND_OF_REASON.get(row["reason"])
        unit = UNITS.get(row["reason"], "frames") if bound is None else bound.unit
        scale = 1.0 if bound is None else bound.scale
        yield Refusal(
            "clips",
            published.manifest.partition,
            row["relative_path"],
            row["first_frame"] / FRAMES_PER_SECOND,
            row["reason"],
            _scaled(row["score"], scale),
            _scaled(row["threshold"], scale),
            "" if row["score"] is None else unit,
            details.get(row["key"], ""),
            row["key"],
        )


def _of_labels(published: Published, files: Mapping[str, str]) -> Iterator[Refusal]:
    """Clips that a label step failed on."""
    for key, detail in _failures(published):
        yield replace(_of_key(published, key, files, FAILED), detail=detail)


def _failures(published: Published) -> Iterator[tuple[str, str]]:
    """Key and exception of the clips that a step failed on."""
    if FAILED_TABLE in published.manifest.files:
        for row in _rows(published, FAILED_TABLE, ("key", "detail"), pc.field("key").is_valid()):
            yield row["key"], row["detail"]


def _of_lip_sync(published: Published, files: Mapping[str, str]) -> Iterator[Refusal]:
    yield from _of_labels(published, files)
    for row in _rows(published, SCORES_TABLE, ("key", "confidence"), pc.field("confidence").is_null()):
        yield _of_key(published, row["key"], files, "not_scored")


def _of_anchors(published: Published, files: Mapping[str, str]) -> Iterator[Refusal]:
    settings: Mapping[str, Any] = published.manifest.settings
    scores = [bound.score for bound in ANCHOR_BOUNDS]
    names = ("key", "base_frame", "accepted", "reason", *scores)
    for row in _rows(published, ANCHORS_TABLE, names, ~pc.field("accepted")):
        bound = ANCHOR_BOUND_OF_REASON.get(row["reason"])
        frame = max(row["base_frame"], 0)
        if bound is None:
            yield _of_key(published, row["key"], files, row["reason"], frame)
            continue
        score = _scaled(row[bound.score], bound.scale)
        limit = bound.threshold(settings) * bound.scale
        yield _of_key(published, row["key"], files, row["reason"], frame, (score, limit, bound.unit))


def _of_shards(published: Published, files: Mapping[str, str]) -> Iterator[Refusal]:
    if VERDICTS_TABLE not in published.manifest.files:
        return
    settings = cast("Mapping[str, Any]", published.manifest.settings.get("lip_sync") or {})
    limits = {
        "lip_sync_low_confidence": ("confidence", settings.get("minimum_confidence"), "confidence"),
        "lip_sync_offset_too_large": ("offset_frames", settings.get("maximum_offset_frames"), "frames"),
    }
    names = ("key", "confidence", "offset_frames", "refusal")
    for row in _rows(published, VERDICTS_TABLE, names, pc.field("refusal") != ""):
        score, limit, unit = limits.get(row["refusal"], ("confidence", None, "confidence"))
        yield _of_key(published, row["key"], files, row["refusal"], 0, (row[score], limit, unit))


_Reader = Callable[[Published, Mapping[str, str]], Iterator[Refusal]]
_READERS: Final[Mapping[str, _Reader]] = {
    "face_tracks": _of_face_tracks,
    "clips": _of_clips,
    "pose_labels": _of_labels,
    "gaze_labels": _of_labels,
    "lip_sync_scores": _of_lip_sync,
    "eye_anchors": _of_anchors,
    "shards": _of_shards,
}
STEPS_WITH_REFUSALS: Final = (SOURCE_VIDEOS, *_READERS)


def _of_key(
    published: Published,
    key: str,
    files: Mapping[str, str],
    reason: str,
    frame: int = 0,
    score: tuple[float | None, float | None, str] = (None, None, ""),
) -> Refusal:
    """A refusal of a clip by its key, which holds the video and the first frame."""
    manifest, place = published.manifest, _PLACE_IN_KEY.match(key)
    video, first_frame = (place[1], int(place[2])) if place else (key, 0)
    seconds = (first_frame + frame) / FRAMES_PER_SECOND
    return Refusal(
        manifest.asset, manifest.partition, files.get(video, video), seconds, reason, *score, key=key
    )


def _rows(
    published: Published, name: str, columns: Sequence[str], wanted: pc.Expression
) -> Iterator[dict[str, Any]]:
    """The wanted rows of a table of a build, a part of it in memory at a time."""
    path = published.directory / name
    source: Any = local_path(path) if is_local(path) else pa.BufferReader(read_bytes(path))
    with pq.ParquetFile(source) as file:
        for part in file.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
            yield from pa.Table.from_batches([part]).filter(wanted).to_pylist()


def _files_of_videos(root: UPath, batch: str = "") -> dict[str, str]:
    """Video id -> the accepted file, below its scanned folder."""
    catalog = load_catalog(root)
    if catalog is None:
        return {}
    wanted = pc.field("status") == ACCEPTED
    if batch:
        wanted &= pc.field("batch") == batch
    accepted = catalog.filter(wanted)
    return dict(zip(accepted["video_id"].to_pylist(), accepted["relative_path"].to_pylist(), strict=True))


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _refuse_unknown(what: str, wanted: Sequence[str], known: Sequence[str]) -> None:
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise ValueError(f"no {what} {', '.join(unknown)}; available: {', '.join(known[:20]) or 'none'}")
