"""The rows of a list of videos: their columns, and the check of one row.

A row names a video by `path` or `key`, and may say which part of it (`start`, `end`, seconds from its
beginning), which face in it (a box, a point or a track), who is seen, the split, and labels. All other
columns are kept as they are. `docs/corpora.md` describes the columns for users.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from preprocessing.table_schema import column, table_schema

ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"

BOX_COLUMNS: Final = ("face_left", "face_top", "face_right", "face_bottom")
POINT_COLUMNS: Final = ("face_x", "face_y")
LABEL_COLUMNS: Final = ("emotion", "intensity", "language", "licence")
KNOWN_COLUMNS: Final = frozenset(
    ("path", "key", "start", "end", *BOX_COLUMNS, *POINT_COLUMNS, "track", "identity", "split")
)
SPLIT_NAMES: Final = {
    "train": "train", "training": "train", "trn": "train", "dev": "train", "trainval": "train",
    "pretrain": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip
"""Names of splits as corpora write them; VoxCeleb's `dev` is what it trains on."""
TRACK_NUMBERS: Final = 5  # seconds, left, top, right, bottom
CLOCK_PARTS: Final = 3  # hours, minutes, seconds
MAXIMUM_SECONDS: Final = 1e7  # 116 days; larger times are no time of a video
SHOWN_CHARACTERS: Final = 80
MAXIMUM_TEXT: Final = 10_000  # characters of a value; longer ones are a damaged file

LIST_SCHEMA: Final = table_schema(
    column("row", pa.int64(), "number in the list, from 1"),
    column("status", pa.string(), "accepted or refused"),
    column("reason", pa.string(), "short code of the refusal; empty if accepted"),
    column("detail", pa.string(), "the refusal in a sentence, with values"),
    column("path", pa.string(), "the video as the catalog has it; as given where it was not found"),
    column("start_seconds", pa.float64(), "first moment of the part; null: the video's beginning"),
    column("end_seconds", pa.float64(), "end of the part; null: the video's end"),
    column("face", pa.list_(pa.float64()), "left, top, right, bottom; of a point twice; null: the largest"),
    column("track", pa.string(), "JSON list of [seconds, left, top, right, bottom]; null: none"),
    column("identity", pa.string(), "who is seen"),
    column("split", pa.string(), "train, validation, test, or empty"),
    column("labels", pa.string(), "JSON object of emotion, language, licence and all other columns"),
)


class RefusedRow(Exception):  # noqa: N818 (a result that becomes a row, not a fault)
    """A row that cannot be used: its reason, a sentence, and the video where there is no record of it."""

    def __init__(self, reason: str, detail: str, path: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.path = path


@dataclass(frozen=True)
class ListRow:
    """One checked row, before its file is looked for."""

    path: str  # "" where only the key is given
    key: str
    start_seconds: float | None
    end_seconds: float | None
    face: tuple[float, ...] | None  # left, top, right, bottom: shares of the picture if all <= 1, else px
    track: str | None
    identity: str  # "": by the folder's rule
    split: str
    labels: str  # JSON


def check_row(record: Mapping[str, Any]) -> ListRow:
    """Check a record of a list.

    Raises:
        RefusedRow: `no_path`, `bad_time`, `bad_face`, `bad_track`, `bad_split`, `bad_identity`, `bad_value`.
    """
    path, key = _text(record, "path"), _text(record, "key")
    if not path and not key:
        raise RefusedRow("no_path", "neither path nor key is given")
    start, end = _seconds(record, "start"), _seconds(record, "end")
    if end is not None and end <= (start or 0.0):
        raise RefusedRow("bad_time", f"end {end:g} s is not after start {start or 0.0:g} s")
    split = _text(record, "split").lower()
    if split and split not in SPLIT_NAMES:
        raise RefusedRow("bad_split", f"split {split!r} is none of {', '.join(SPLIT_NAMES)}")
    identity = _text(record, "identity")
    if not identity.isprintable():
        raise RefusedRow("bad_identity", f"identity {identity!r} has control characters")
    return ListRow(
        path, key, start, end, _face(record), _track(record), identity, SPLIT_NAMES.get(split, ""),
        _labels(record),
    )  # fmt: skip


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise RefusedRow("bad_value", f"{name} is a {type(value).__name__}, need a text")
    text = str(value).strip()
    if len(text) > MAXIMUM_TEXT:
        raise RefusedRow("bad_value", f"{name} has {len(text)} characters, at most {MAXIMUM_TEXT}")
    return text


def _number(record: Mapping[str, Any], name: str, reason: str) -> float | None:
    value = record.get(name)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise RefusedRow(reason, f"{name} is {_shown(value)}, need a number") from None
    if not math.isfinite(number):
        raise RefusedRow(reason, f"{name} is {_shown(value)}, need a finite number")
    return number


def _seconds(record: Mapping[str, Any], name: str) -> float | None:
    """Seconds, also as [hours:]minutes:seconds."""
    value = record.get(name)
    if isinstance(value, str) and ":" in value:
        parts = value.strip().split(":")
        if len(parts) > CLOCK_PARTS:
            raise RefusedRow("bad_time", f"{name} is {_shown(value)}, need [hours:]minutes:seconds")
        numbers = [_number({name: part}, name, "bad_time") or 0.0 for part in parts]
        record = {name: sum(number * 60**power for power, number in enumerate(reversed(numbers)))}
    seconds = _number(record, name, "bad_time")
    if seconds is not None and not 0.0 <= seconds <= MAXIMUM_SECONDS:
        raise RefusedRow("bad_time", f"{name} is {seconds:g} s, need 0 to {MAXIMUM_SECONDS:g}")
    return seconds


def _face(record: Mapping[str, Any]) -> tuple[float, ...] | None:
    box = [_number(record, name, "bad_face") for name in BOX_COLUMNS]
    point = [_number(record, name, "bad_face") for name in POINT_COLUMNS]
    if box == [None] * 4 and point == [None] * 2:
        return None
    numbers = box if box != [None] * 4 else point * 2
    if any(number is None for number in numbers):
        raise RefusedRow("bad_face", f"the face needs all of {', '.join(BOX_COLUMNS)}, or face_x and face_y")
    left, top, right, bottom = (number for number in numbers if number is not None)
    if numbers is box and (right <= left or bottom <= top):
        raise RefusedRow("bad_face", f"the face's box {left:g}, {top:g}, {right:g}, {bottom:g} has no area")
    return left, top, right, bottom


def _track(record: Mapping[str, Any]) -> str | None:
    value = record.get("track")
    if value is None or value == "":
        return None
    try:
        boxes: Any = json.loads(value) if isinstance(value, str) else value
        numbers = [[float(number) for number in box] for box in boxes]
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise RefusedRow(
            "bad_track", "the track is no JSON list of [seconds, left, top, right, bottom]"
        ) from None
    if not numbers or not all(len(box) == TRACK_NUMBERS and all(map(math.isfinite, box)) for box in numbers):
        raise RefusedRow("bad_track", "a box of the track does not have five finite numbers")
    return json.dumps(sorted(numbers), separators=(",", ":"))


def _labels(record: Mapping[str, Any]) -> str:
    try:
        kept = {
            str(name): _plain(value)
            for name, value in record.items()
            if name not in KNOWN_COLUMNS and value not in (None, "")
        }
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except RecursionError:
        raise RefusedRow("bad_value", "the other columns are nested too deeply") from None
    text = text.encode("utf-8", "replace").decode("utf-8")  # no table holds lone surrogates
    if len(text) > MAXIMUM_TEXT:
        raise RefusedRow(
            "bad_value", f"the other columns have {len(text)} characters, at most {MAXIMUM_TEXT}"
        )
    return text


def _shown(value: Any) -> str:
    """A value for a refusal, cut."""
    text = str(value) if isinstance(value, str | float) else type(value).__name__
    return repr(text[:SHOWN_CHARACTERS])


def _plain(value: Any) -> Any:
    """A value as JSON holds it; numbers that are not finite, and types that JSON lacks, as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(item) for item in value]
    return str(value)
