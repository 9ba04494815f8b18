"""Licences of pretrained weights: who accepted which text, and when.

An acceptance is stored beside the weights as `<folder>/<name>/licence.json`. Weights that allow commercial
use need none. An acceptance holds for one text: if the catalog's text changes, it must be given again.
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
from weights.catalog import Licence, PretrainedWeights

ACCEPT_VARIABLE: Final = "PDFGC_ACCEPT_LICENCES"
LICENCE_FILE: Final = "licence.json"


@dataclass(frozen=True)
class LicenceAcceptance:
    """A user's acceptance of a licence."""

    licence: str
    text_sha256: str  # of the text shown, 64 hex digits
    accepted_at: str  # ISO 8601, UTC
    accepted_by: str  # user name on that machine
    how: Literal["flag", "environment"]


def require_acceptance(weights: PretrainedWeights, folder: Path) -> LicenceAcceptance | None:
    """The acceptance of the weights' licence; None if none is needed.

    Weights named in PDFGC_ACCEPT_LICENCES are accepted now, and the acceptance is stored if the folder is
    writable.

    Args:
        weights: entry of the catalog.
        folder: root of the weights folders.

    Raises:
        ValueError: the licence was not accepted; the message holds its terms and how to accept it.
    """
    if weights.licence.commercial == "yes":
        return None
    stored = _read(weights, folder)
    if stored is not None and stored.text_sha256 == _text_sha256(weights.licence):
        return stored
    if weights.name in accepted_in_environment():
        acceptance = _accept_now(weights, "environment")
        if is_writable(folder):
            _write(weights, folder, acceptance)
        return acceptance
    changed = f" (its text has changed since {stored.accepted_at[:10]})" if stored is not None else ""
    raise ValueError(
        f"{weights.name}: the licence must be accepted once{changed}. {licence_text(weights.licence)} "
        f"Accept it with: pdfgc weights fetch {weights.name} --accept-licence {weights.name}, or "
        f"{ACCEPT_VARIABLE}={weights.name}"
    )


def accept(weights: PretrainedWeights, folder: Path) -> LicenceAcceptance:
    """Store that the licence was accepted by a command line flag.

    Raises:
        OSError: the folder is not writable.
    """
    acceptance = _accept_now(weights, "flag")
    _write(weights, folder, acceptance)
    return acceptance


def accepted_in_environment() -> frozenset[str]:
    """The comma-separated names in PDFGC_ACCEPT_LICENCES."""
    value = os.environ.get(ACCEPT_VARIABLE, "")
    return frozenset(name.strip() for name in value.split(",") if name.strip())


def licence_text(licence: Licence) -> str:
    """The licence in one line: name, link, commercial use, terms."""
    return f"{licence.name} ({licence.link}), commercial use: {licence.commercial}. {licence.terms}"


def is_writable(folder: Path) -> bool:
    """Whether a folder, or its nearest existing parent, is writable."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return os.access(nearest, os.W_OK | os.X_OK)


def _accept_now(weights: PretrainedWeights, how: Literal["flag", "environment"]) -> LicenceAcceptance:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return LicenceAcceptance(weights.licence.name, _text_sha256(weights.licence), now, _user(), how)


def _text_sha256(licence: Licence) -> str:
    return hashlib.sha256(licence_text(licence).encode()).hexdigest()


def _user() -> str:
    try:
        return getpass.getuser()
    except KeyError:  # a container's user without a passwd entry
        return f"user {os.getuid()}"


def _read(weights: PretrainedWeights, folder: Path) -> LicenceAcceptance | None:
    path = folder / weights.name / LICENCE_FILE
    try:
        return LicenceAcceptance(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a licence acceptance ({error}): remove it") from error


def _write(weights: PretrainedWeights, folder: Path, acceptance: LicenceAcceptance) -> None:
    with write_atomically(folder / weights.name / LICENCE_FILE) as partial:
        partial.write_text(json.dumps(asdict(acceptance), indent=1), "utf-8")
