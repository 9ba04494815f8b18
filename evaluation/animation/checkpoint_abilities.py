"""Capabilities of a checkpoint, without loading it. Imports no torch: the app uses it."""

from pathlib import Path
from typing import Final

from safetensors import safe_open
from upath import UPath

from storage.publishing import current
from storage.root import local_copy
from training.jobs.job import TrainingJob
from training.jobs.stage_run import JOB_NAME
from training.stage_catalog import EYE_AXES_PART, RENDERING_STAGE

EYE_STAGE: Final = "stage2_eye"
WEIGHTS_NAME: Final = "weights.safetensors"
RELEASED_NAME: Final = "pdfgc_official"  # of the authors' files in the catalog of pretrained weights


def is_released(checkpoint: str) -> bool:
    """Whether a checkpoint means released files: a folder, or their name in the list of weights."""
    return bool(checkpoint) and (checkpoint == RELEASED_NAME or Path(checkpoint).expanduser().is_dir())


def separates_gaze_from_blinks(root: UPath, checkpoint: str) -> bool:
    """Whether gaze and blinks can have separate strengths.

    They can for released files, and for runs whose eye stage measured the parts.

    Args:
        root: Of training runs.
        checkpoint: A folder of released files, their name in the list of weights, or a run; else False.
    """
    if not checkpoint:
        return False
    if is_released(checkpoint):
        return True
    last = None if "/" in checkpoint else current(root, RENDERING_STAGE, checkpoint)
    if last is None:
        return False
    config = TrainingJob.read(local_copy(last.directory) / JOB_NAME).config
    eye = current(root, EYE_STAGE, config.parents_run or config.run)
    if eye is None or WEIGHTS_NAME not in eye.manifest.files:
        return False
    with safe_open(local_copy(eye.directory) / WEIGHTS_NAME, framework="np") as weights:
        return any(name.startswith(f"{EYE_AXES_PART}.") for name in weights.keys())  # noqa: SIM118
