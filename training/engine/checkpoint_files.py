"""The files of checkpoints, without torch: names, manifest, and what verifying them needs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from storage.fingerprint import file_sha256
from storage.integrity.faults import Fault
from storage.integrity.reading import Expectation
from storage.integrity.sealed_json import sealed, unsealed

CHECKPOINTS_FOLDER: Final = ".checkpoints"  # starts with a dot, so it is not published
MANIFEST_NAME: Final = "manifest.json"
CHECKPOINT_VERSION: Final = 1
FIELDS: Final = (
    "checkpoint_version",
    "stage",
    "step",
    "ranks",
    "schema_version",
    "cursor",
    "configuration",
    "files",
)


def manifest_text(values: dict[str, Any]) -> str:
    """The text of a checkpoint's manifest."""
    return json.dumps(sealed(values), indent=1)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged or of another version.
    """
    file = folder / MANIFEST_NAME
    if not file.is_file():
        raise FileNotFoundError(f"no checkpoint in {folder}: it has no {MANIFEST_NAME}")
    try:
        manifest = json.loads(file.read_text("utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{file} is damaged: {error}; run: pdfgc repair") from error
    version = manifest.get("checkpoint_version") if isinstance(manifest, dict) else None
    if version != CHECKPOINT_VERSION:
        raise ValueError(f"{file}: checkpoint of version {version}, this code reads {CHECKPOINT_VERSION}")
    try:
        return unsealed(manifest, FIELDS)
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}; run: pdfgc repair") from error


def check_checkpoints(scratch: Path, shown: Callable[[Path], str]) -> tuple[list[Fault], list[Expectation]]:
    """Damaged manifests of checkpoints of runs that were interrupted, and what their files must hold.

    Args:
        scratch: folder of the builds in progress.
        shown: a path as faults show it.
    """
    faults: list[Fault] = []
    expected: list[Expectation] = []
    for file in sorted(scratch.glob(f"*/*/*/{CHECKPOINTS_FOLDER}/step-*/{MANIFEST_NAME}")):
        folder = file.parent
        affects = ("/".join(folder.relative_to(scratch).parts[:2]),)
        try:
            digests = read_manifest(folder)["files"]
        except FileNotFoundError:
            continue  # a running job has removed it
        except (ValueError, KeyError) as error:
            faults.append(Fault("checkpoint", shown(file), "a manifest", str(error), affects=affects))
            continue
        for name, sha256 in digests.items():
            path = folder / name
            size_bytes = path.stat().st_size if path.is_file() else 0
            read = lambda path=path: file_sha256(path)  # noqa: E731 - of this file
            expected.append(
                Expectation(
                    shown(path), sha256, size_bytes, "checkpoint", read, mend="pdfgc repair", affects=affects
                )
            )
    return faults, expected
