"""`current.json` of a partition: which of its builds is current, and when earlier ones were superseded."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from upath import UPath

from storage.integrity.sealed_json import read_sealed, sealed
from storage.objects import ChangedMeanwhileError, read_tagged, replace_bytes

CURRENT_NAME: Final = "current.json"
FIELDS: Final = ("directory", "superseded")
MAXIMUM_SUPERSEDED: Final = 50  # entries, the latest


@dataclass(frozen=True)
class Pointer:
    """The content of `current.json`.

    Attributes:
        directory: Name of the current build.
        superseded: Name of an earlier build -> when it was superseded, UTC, ISO 8601. Running jobs may still
            read it.
    """

    directory: str
    superseded: Mapping[str, str] = field(default_factory=dict)


def read_pointer(partition: UPath) -> Pointer | None:
    """A partition's pointer; None if it has none.

    Raises:
        ValueError: it is damaged.
    """
    return _read(partition)[0]


def point_to(partition: UPath, directory: str) -> None:
    """Make a build current in one step, and record when the previous one was superseded.

    Of two machines that do so at once the second starts anew, so that no record is lost.
    """
    while not _point_to(partition, directory):
        continue


def _point_to(partition: UPath, directory: str) -> bool:
    """Whether nobody else changed the pointer between reading and replacing it."""
    before, tag = _read(partition)
    superseded = dict(before.superseded) if before is not None else {}
    if before is not None:
        superseded[before.directory] = datetime.now(UTC).isoformat(timespec="microseconds")
    superseded.pop(directory, None)
    latest = sorted(superseded.items(), key=lambda item: item[1])[-MAXIMUM_SUPERSEDED:]
    text = json.dumps(sealed(asdict(Pointer(directory, dict(latest)))))
    try:
        replace_bytes(partition / CURRENT_NAME, text.encode(), tag)
    except ChangedMeanwhileError:
        return False
    return True


def _read(partition: UPath) -> tuple[Pointer | None, str]:
    data, tag = read_tagged(partition / CURRENT_NAME)
    if data is None:
        return None, tag
    try:
        values: Any = read_sealed(data.decode(), FIELDS)
        return Pointer(values["directory"], values.get("superseded", {})), tag
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{partition / CURRENT_NAME} is damaged: {error}; run: pdfgc repair") from error
