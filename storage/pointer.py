"""`current.json` of a partition: which of its builds counts, and until when others did."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from upath import UPath

from storage.objects import read_bytes, write_bytes

CURRENT_NAME: Final = "current.json"
EARLIER_KEPT: Final = 50  # of the builds that ceased to count last


@dataclass(frozen=True)
class Pointer:
    """What `current.json` says.

    Attributes:
        directory: Name of the build that counts.
        earlier: Name of a build -> when it ceased to count, UTC, ISO 8601: running jobs may still read it.
    """

    directory: str
    earlier: Mapping[str, str] = field(default_factory=dict)


def read_pointer(partition: UPath) -> Pointer | None:
    """Read a partition's pointer; None where there is none.

    Raises:
        ValueError: it is damaged.
    """
    try:
        told: Any = json.loads(read_bytes(partition / CURRENT_NAME))
        return Pointer(told["directory"], told.get("earlier", {}))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{partition / CURRENT_NAME} is damaged: {error}") from error


def point_to(partition: UPath, directory: str) -> None:
    """Make a build the one that counts, in one step, and note when the one before ceased to."""
    before = read_pointer(partition)
    earlier = dict(before.earlier) if before is not None else {}
    if before is not None:
        earlier[before.directory] = datetime.now(UTC).isoformat(timespec="microseconds")
    earlier.pop(directory, None)
    last = sorted(earlier.items(), key=lambda item: item[1])[-EARLIER_KEPT:]
    text = json.dumps(asdict(Pointer(directory, dict(last))))
    write_bytes(partition / CURRENT_NAME, text.encode())
