"""Licences of outside weights: who accepted which wording when, kept beside the weights.

`<folder>/<name>/licence.json`. What may be used commercially needs no acceptance. An acceptance is of one
wording: where the list's changes, it is asked for anew.
"""

import getpass
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from storage.atomic import write_atomically
from weights.rows import LicenceRow, WeightsRow

ACCEPT_VARIABLE: Final = "PDFGC_ACCEPT_LICENCES"
ACCEPTANCE_NAME: Final = "licence.json"
How = Literal["flag", "environment"]


@dataclass(frozen=True)
class Acceptance:
    """That a person accepted a licence by the weights' name."""

    licence: str
    text_sha256: str  # of the wording shown, 64 hex digits
    accepted_at: str  # ISO 8601, UTC
    accepted_by: str  # user's name on that machine
    how: How


def require_acceptance(row: WeightsRow, folder: Path) -> Acceptance | None:
    """The acceptance of a set's licence; None where none is needed.

    Named in the variable PDFGC_ACCEPT_LICENCES it is accepted now, and recorded where the folder may be
    written to.

    Args:
        row: whose.
        folder: that holds the sets' folders.

    Raises:
        ValueError: it was not accepted; says what it allows and how to accept it.
    """
    if row.licence.commercial == "yes":
        return None
    recorded = _read(row, folder)
    if recorded is not None and recorded.text_sha256 == _text_sha256(row.licence):
        return recorded
    if row.name in accepted_in_environment():
        acceptance = _acceptance(row, "environment")
        if may_write(folder):
            _write(row, folder, acceptance)
        return acceptance
    why = "" if recorded is None else f" (its wording here has changed since {recorded.accepted_at[:10]})"
    raise ValueError(
        f"{row.name}: its licence must be accepted by name once{why}. {licence_line(row.licence)} Accept it "
        f"with: pdfgc weights fetch {row.name} --accept-licence {row.name}, or "
        f"{ACCEPT_VARIABLE}={row.name}"
    )


def accept(row: WeightsRow, folder: Path) -> Acceptance:
    """Record that the licence is accepted by a flag.

    Raises:
        OSError: the folder cannot be written to.
    """
    acceptance = _acceptance(row, "flag")
    _write(row, folder, acceptance)
    return acceptance


def accepted_in_environment() -> frozenset[str]:
    """Names in the variable PDFGC_ACCEPT_LICENCES, which stand with commas between them."""
    told = os.environ.get(ACCEPT_VARIABLE, "")
    return frozenset(name.strip() for name in told.split(",") if name.strip())


def licence_line(licence: LicenceRow) -> str:
    """What a person should know of it, in one line."""
    return f"{licence.name} ({licence.link}), commercial use: {licence.commercial}. {licence.terms}"


def may_write(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that is there, may be written to."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return os.access(nearest, os.W_OK | os.X_OK)


def _acceptance(row: WeightsRow, how: How) -> Acceptance:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Acceptance(row.licence.name, _text_sha256(row.licence), now, _user(), how)


def _text_sha256(licence: LicenceRow) -> str:
    return hashlib.sha256(licence_line(licence).encode()).hexdigest()


def _user() -> str:
    try:
        return getpass.getuser()
    except KeyError:  # a container's user without an entry in the list of users
        return f"user {os.getuid()}"


def _read(row: WeightsRow, folder: Path) -> Acceptance | None:
    path = folder / row.name / ACCEPTANCE_NAME
    try:
        return Acceptance(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no record of an accepted licence ({error}); remove it") from error


def _write(row: WeightsRow, folder: Path, acceptance: Acceptance) -> None:
    with write_atomically(folder / row.name / ACCEPTANCE_NAME) as partial:
        partial.write_text(json.dumps(asdict(acceptance), indent=1), "utf-8")
