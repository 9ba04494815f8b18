"""The list of `pdfgc referee`: videos of any program, with what is known of each.

A CSV file with a header, or JSON lines. Column `generated` is needed, all others may be missing or empty:

    name        of the video, in tables; default: the file's name
    generated   the video to measure
    truth       the true video that it should equal
    portrait    the face that it shows: a picture or a video's first frame
    lip         sound that drove the lips, alone or of a video
    pose, eye, expression   videos or pictures that drove these controls

Paths are relative to the list. `FILE#xywh=x,y,width,height` (W3C Media Fragments) is a part of the pictures.
A row whose truth is known, and whose pose, eyes and expression nothing else drove, is self-reenactment: what
has no driver is compared with the truth. A row that cannot be used is one line that says where, what and the
way out; the others are measured.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from evaluation.controls import CONTROLS, Control
from evaluation.records import Task
from storage.printable import display_text

FILES: Final = ("generated", "truth", "portrait", *CONTROLS)
COLUMNS: Final = ("name", *FILES)
JSON_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")
LONGEST_NAME: Final = 200  # characters
_BOX: Final = re.compile(
    r"(?P<file>.+)#xywh=(?:pixel:)?(?P<box>[0-9]{1,6},[0-9]{1,6},[0-9]{1,6},[0-9]{1,6})", re.DOTALL
)


@dataclass(frozen=True)
class MediaPart:
    """A file, or a part of its pictures: `box` is left, top, width, height in px."""

    path: Path
    box: tuple[int, int, int, int] | None = None

    @override
    def __str__(self) -> str:
        return str(self.path) if self.box is None else f"{self.path}#xywh={','.join(map(str, self.box))}"


@dataclass(frozen=True)
class RefereeRow:
    """One video and what it is compared with.

    Attributes:
        line: Of the list, from 1.
        name: Unique in the list.
        generated: The video.
        truth, portrait: None if unknown.
        drivers: By control; some may be missing.
    """

    line: int
    name: str
    generated: MediaPart
    truth: MediaPart | None
    portrait: MediaPart | None
    drivers: Mapping[Control, MediaPart]

    @property
    def task(self) -> Task:
        """`self` if the truth is known and no other video drove the face, else `cross`."""
        faces = {part for control, part in self.drivers.items() if control != "lip"}
        return "self" if self.truth is not None and faces <= {self.truth} else "cross"

    def parts(self) -> tuple[MediaPart, ...]:
        """Every file once."""
        known = (self.generated, self.truth, self.portrait, *self.drivers.values())
        return tuple(dict.fromkeys(part for part in known if part is not None))


@dataclass(frozen=True)
class RefusedRow:
    """A row that was left out; `reason` names the value and the way out."""

    line: int
    column: str
    reason: str

    def text(self, file: Path) -> str:
        """One line: file, line, column, value, way out."""
        return display_text(f"{file} line {self.line}, {self.column}: {self.reason}")


class RefusedRowError(ValueError):
    """Why a row cannot be used: its column, and the reason with the way out."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"{column}: {reason}")
        self.column, self.reason = column, reason


def read_list(file: Path) -> tuple[list[RefereeRow], list[RefusedRow]]:
    """Rows in the list's order, and those that cannot be used.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty, no CSV or JSON lines, or has a column that is unknown.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no list {file}: a CSV file with the columns {', '.join(COLUMNS)}")
    rows: list[RefereeRow] = []
    refused: list[RefusedRow] = []
    names: dict[str, int] = {}  # name -> how often its file's stem was met
    read = _read_json_lines if file.suffix.lower() in JSON_SUFFIXES else _read_csv
    for line, values in read(file):
        try:
            row = _row(line, values, file.parent, names)
        except RefusedRowError as error:
            refused.append(RefusedRow(line, error.column, error.reason))
            continue
        names.setdefault(row.name, 1)
        rows.append(row)
    if not rows and not refused:
        raise ValueError(f"{file} has no rows; each names a video in the column generated")
    return rows, refused


def _read_csv(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened)
            _check_columns(file, tuple(reader.fieldnames or ()))
            for values in reader:
                if None in values:
                    yield reader.line_num, {"_extra": True}
                else:
                    yield reader.line_num, values
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{file} is no CSV file in UTF-8 ({error}); JSON lines need the ending .jsonl"
        ) from error


def _read_json_lines(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no file of JSON lines in UTF-8 ({error})") from error
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            yield line, {"_text": text}
            continue
        _check_columns(file, (*values, "generated"))
        yield line, values


def _check_columns(file: Path, columns: tuple[str | None, ...]) -> None:
    unknown = [str(name) for name in columns if name not in COLUMNS]
    if unknown or "generated" not in columns:
        problem = f"unknown column {unknown[0]!r}" if unknown else "no column generated"
        raise ValueError(f"{file}: {problem}; columns are {', '.join(COLUMNS)}")


def _row(line: int, values: Mapping[str, Any], folder: Path, taken: dict[str, int]) -> RefereeRow:
    if "_extra" in values:
        raise RefusedRowError("row", "more values than columns; put a path with a comma in double quotes")
    if "_text" in values:
        raise RefusedRowError("row", f"{values['_text'][:60]!r} is no JSON object; write one object a line")
    parts = {name: _part(name, values.get(name), folder) for name in FILES}
    generated = parts["generated"]
    if generated is None:
        raise RefusedRowError("generated", "empty; name the video to measure, or remove the row")
    drivers: dict[Control, MediaPart] = {
        control: part for control in CONTROLS if (part := parts[control]) is not None
    }
    name = str(values.get("name") or "").strip() or _free_name(generated.path.stem, taken)
    if not name.isprintable() or len(name) > LONGEST_NAME:
        raise RefusedRowError(
            "name", f"{name[:60]!r} must be at most {LONGEST_NAME} printable characters; give the row a name"
        )
    if name in taken:
        raise RefusedRowError("name", f"{name!r} is taken by an earlier row; give it another or none")
    return RefereeRow(line, name, generated, parts["truth"], parts["portrait"], drivers)


def _free_name(stem: str, taken: dict[str, int]) -> str:
    """The file's stem, with a number if it is taken; looks no number up twice, for lists of one stem."""
    name, number = stem, taken.get(stem, 1)
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    if stem in taken:
        taken[stem] = number
    return name


def _part(column: str, value: object, folder: Path) -> MediaPart | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or "\0" in value:
        raise RefusedRowError(column, f"{value!r} is no path; write a path in quotes, or leave it out")
    matched = _BOX.fullmatch(value.strip())
    path = folder / _home_expanded(Path(matched["file"] if matched else value.strip()))
    try:
        is_file = path.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise RefusedRowError(column, f"{value[:60]!r}: {error.strerror}; correct the path") from error
    if not is_file:
        if "#" in path.name and not matched:
            raise RefusedRowError(column, f"{value!r}: a part is written FILE#xywh=x,y,width,height in px")
        raise RefusedRowError(column, f"no file {path}; correct the path, or leave the value empty")
    if matched is None:
        return MediaPart(path)
    left, top, width, height = (int(number) for number in matched["box"].split(","))
    if not width or not height:
        raise RefusedRowError(column, f"{value!r} is an empty part; width and height must be above 0")
    return MediaPart(path, (left, top, width, height))


def _home_expanded(path: Path) -> Path:
    """A path with `~` replaced; as it is for an unknown user."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path
