"""Verify published files before a build stands on them: each file is hashed once a machine.

What was hashed is remembered in the scratch directory by size, modification time and inode. A file that is
built here is remembered when it is published, since it was hashed just before.
"""

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from storage.atomic import write_atomically
from storage.fingerprint import file_sha256
from storage.integrity.faults import REPAIR
from storage.manifest import Manifest
from storage.printable import printable

logger = logging.getLogger(__name__)

VERIFIED: Final = "verified"  # folder in the scratch directory
SHOWN_DIGITS: Final = 16
DIGEST_DIGITS: Final = 8  # of the content digest, in a memory's name


def memory_path(scratch: Path, manifest: Manifest, kind: str = "builds") -> Path:
    """The file that remembers a build's verified files.

    Args:
        scratch: from `storage.root.scratch_directory`.
        manifest: of the build.
        kind: "builds", or "copies" for local copies of a bucket's builds.
    """
    name = f"{manifest.fingerprint[:16]}-{manifest.content_digest[:DIGEST_DIGITS]}.json"
    return scratch / VERIFIED / kind / manifest.asset / manifest.partition / name


def require_verified(folder: Path, manifest: Manifest, memory: Path) -> None:
    """Verify the files of a published folder, unless they are remembered as verified.

    Raises:
        ValueError: a file is missing, cannot be read or differs from the manifest.
    """
    known = _read(memory, manifest)
    states: dict[str, str] = {}
    hashed = 0
    for name, record in manifest.files.items():
        path = folder / name
        try:
            states[name] = _state(path)
            if states[name] == known.get(name):
                continue
            sha256 = file_sha256(path)
        except FileNotFoundError as error:
            raise ValueError(f"{printable(path)} is gone; run: {REPAIR}") from error
        except OSError as error:
            raise ValueError(f"{printable(path)} cannot be read ({error.strerror}); run: {REPAIR}") from error
        hashed += record.size_bytes
        if sha256 != record.sha256:
            raise ValueError(
                f"{printable(path)} is damaged: its sha256 is {sha256[:SHOWN_DIGITS]}, its manifest says "
                f"{record.sha256[:SHOWN_DIGITS]}; run: {REPAIR}"
            )
    if states != known:
        logger.info("Verified %s (%.1f MiB read)", printable(folder), hashed / 2**20)
        _write(memory, manifest, states)


def remember_verified(folder: Path, manifest: Manifest, memory: Path) -> None:
    """Remember files that were hashed just now."""
    _write(memory, manifest, {name: _state(folder / name) for name in manifest.files})


def forget_verified(scratch: Path, builds: Path | None, copies: Path) -> int:
    """Remove the memories of builds and copies that are gone; returns their number.

    Args:
        scratch: from `storage.root.scratch_directory`.
        builds: `assets/` of a local root; None for a bucket.
        copies: folder of local copies of a bucket's builds, each named after its content digest.
    """
    forgotten = 0
    there = {copy.name[:DIGEST_DIGITS] for copy in copies.glob("*")}
    for memory in sorted((scratch / VERIFIED).glob("*/*/*/*.json")):
        kind, asset, partition, name = memory.relative_to(scratch / VERIFIED).parts
        build = name.removesuffix(".json")
        if kind == "builds":
            is_needed = builds is not None and (builds / asset / partition / build).is_dir()
        else:
            is_needed = build[-DIGEST_DIGITS:] in there
        if not is_needed:
            memory.unlink(missing_ok=True)
            forgotten += 1
    return forgotten


def _state(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _read(memory: Path, manifest: Manifest) -> dict[str, str]:
    try:
        values: Any = json.loads(memory.read_text("utf-8"))
        return dict(values["files"]) if values["content"] == manifest.content_digest else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # nothing is remembered: hash again


def _write(memory: Path, manifest: Manifest, states: dict[str, str]) -> None:
    text = json.dumps({"content": manifest.content_digest, "files": states}, sort_keys=True)
    with suppress(OSError), write_atomically(memory) as partial:  # a memory that is full only costs time
        partial.write_text(text, "utf-8")
