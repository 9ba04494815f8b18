"""Marks of builds that were made from a damaged one: `suspect.json` in the build's directory.

A suspect build is stale, and none is made current again while it is suspect. The mark goes when the same
recipe is built again and gives the same files.
"""

import json
from typing import Final

from upath import UPath

from storage.integrity.sealed_json import read_sealed, sealed
from storage.objects import read_bytes, remove_file, write_bytes

SUSPECT_NAME: Final = "suspect.json"


def mark_suspect(root: UPath, location: str, reason: str) -> None:
    """Mark the build at a location."""
    write_bytes(root / location / SUSPECT_NAME, json.dumps(sealed({"reason": reason}), indent=1).encode())


def clear_suspect(directory: UPath) -> None:
    """Remove a build's mark if it has one."""
    remove_file(directory, SUSPECT_NAME)


def why_suspect(directory: UPath) -> str | None:
    """Why a build is suspect; None if it is not. A mark that cannot be read is one all the same."""
    try:
        return str(read_sealed(read_bytes(directory / SUSPECT_NAME).decode())["reason"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError):
        return f"marked by a {SUSPECT_NAME} that is damaged"
