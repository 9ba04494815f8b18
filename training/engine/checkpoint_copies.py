"""The newest checkpoint of an unfinished stage, kept in a root that is in a bucket.

A run that goes on on another machine, whose work folder is empty, starts from it:

    checkpoints/<stage>/<run>/<work folder>/step-00000200/weights.safetensors …, metrics.jsonl, manifest.json

The manifest is uploaded last: without it a copy does not count. Removed once the stage is published. Imports
no torch.
"""

import logging
from pathlib import Path
from typing import Final

from upath import UPath

from storage.atomic import partial_path, remove
from storage.objects import entries, exists, read_remote_chunks, remove_directory, upload_file
from training.engine.checkpoint_files import CHECKPOINTS_FOLDER, MANIFEST_NAME, read_manifest
from training.engine.progress import METRICS_NAME

COPIES_FOLDER: Final = "checkpoints"
STEP_PREFIX: Final = "step-"

logger = logging.getLogger(__name__)


def copies_location(stage: str, run: str, work: Path) -> str:
    """Where the copies of a job are, below the root. The work folder's name tells one recipe from another."""
    return f"{COPIES_FOLDER}/{stage}/{run}/{work.name}"


def copy_checkpoint(root: UPath, location: str, checkpoint: Path, work: Path) -> None:
    """Upload a checkpoint and the metrics so far; then remove the copies of earlier ones.

    Args:
        root: in a bucket.
        location: from `copies_location`.
        checkpoint: its folder in the work folder.
        work: the work folder.
    """
    target = root / location / checkpoint.name
    for name in read_manifest(checkpoint)["files"]:
        upload_file(checkpoint / name, target / name)
    upload_file(work / METRICS_NAME, target / METRICS_NAME)
    upload_file(checkpoint / MANIFEST_NAME, target / MANIFEST_NAME)
    for name in _steps(root, location):
        if name != checkpoint.name:
            remove_directory(root, f"{location}/{name}", first=MANIFEST_NAME)


def restore_checkpoint(root: UPath, location: str, work: Path) -> None:
    """Download the newest copy into a work folder that has no checkpoint; its files are verified when read.

    Args:
        root: in a bucket.
        location: from `copies_location`.
        work: the work folder.
    """
    if any((work / CHECKPOINTS_FOLDER).glob(f"{STEP_PREFIX}*/{MANIFEST_NAME}")):
        return
    complete = [name for name in _steps(root, location) if exists(root, f"{location}/{name}/{MANIFEST_NAME}")]
    if not complete:
        return
    newest = max(complete)  # of equal length
    target = work / CHECKPOINTS_FOLDER / newest
    partial = partial_path(target)
    partial.mkdir(parents=True)
    try:
        _download(root / location / newest, MANIFEST_NAME, partial)
        for name in (*read_manifest(partial)["files"], METRICS_NAME):  # a listing may be late
            _download(root / location / newest, name, partial)
        (partial / METRICS_NAME).rename(work / METRICS_NAME)
        partial.rename(target)
    finally:
        remove(partial)
    logger.info("Downloaded checkpoint %s of an earlier machine", newest)


def _download(source: UPath, name: str, target: Path) -> None:
    with (target / name).open("wb") as file:
        for chunk in read_remote_chunks(source / name):
            file.write(chunk)


def remove_copies(root: UPath, stage: str, run: str) -> None:
    """Remove every copy of a stage of a run."""
    location = f"{COPIES_FOLDER}/{stage}/{run}"
    for work in entries(root, location):
        for name in _steps(root, f"{location}/{work.name}"):
            remove_directory(root, f"{location}/{work.name}/{name}", first=MANIFEST_NAME)


def _steps(root: UPath, location: str) -> list[str]:
    return [entry.name for entry in entries(root, location) if entry.name.startswith(STEP_PREFIX)]
