"""Which checkpoint a name means, and what it can do, without loading it.

Imports no torch: the app uses it.
"""

import json
import logging
import math
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from upath import UPath

import weights
from preprocessing.schema import CROP_SIDE_PX
from storage.publishing import current, published_partitions
from storage.root import local_copy
from training.jobs.config import STARTER_NAME
from training.jobs.job import TrainingJob
from training.jobs.stage_run import JOB_NAME
from training.stage_catalog import EYE_AXES_PART, RENDERING_STAGE
from weights.catalog import pretrained_named

logger = logging.getLogger(__name__)

EYE_STAGE: Final = "stage2_eye"
WEIGHTS_NAME: Final = "weights.safetensors"
RELEASED_NAME: Final = "pdfgc_official"  # of the authors' files in the catalog of pretrained weights
DEFAULT_RUN: Final = "default"
STARTER_FILE: Final = Path(weights.__file__).parent / STARTER_NAME / "starter.safetensors"
EXPORTED_SUFFIX: Final = ".safetensors"
MODEL_NAME: Final = "model.safetensors"  # in a folder of `pdfgc export RUN FOLDER`
FACTS: Final = frozenset(("format", "run", "side_px", "networks", "windows", "weights"))
LARGEST_SIZE: Final = 65_536  # of a network: the header of a stranger's file decides what is allocated
LONGEST_LIST: Final = 256  # such as channels, one layer each
FACTS_KEY: Final = "pdfgc"
"""The only key of an exported model's metadata, a JSON object: with several their order would vary."""


def is_released(checkpoint: str) -> bool:
    """Whether a checkpoint means released files: their folder, or their name in the list of weights."""
    if not checkpoint or exported_file(checkpoint) is not None:
        return False
    return checkpoint == RELEASED_NAME or Path(checkpoint).expanduser().is_dir()


def exported_file(checkpoint: str) -> Path | None:
    """The file of the starter model or of another exported model; None if a checkpoint is neither.

    An exported model is a file, or a folder with `MODEL_NAME`.
    """
    if checkpoint == STARTER_NAME:
        return STARTER_FILE
    if checkpoint.endswith(EXPORTED_SUFFIX):
        return Path(checkpoint).expanduser()
    if not checkpoint:
        return None
    try:
        file = Path(checkpoint).expanduser() / MODEL_NAME
        return file if file.is_file() else None
    except (OSError, ValueError, RuntimeError):  # not readable, a NUL, the home of an unknown user
        return None


def find_checkpoint(root: UPath, checkpoint: str) -> bool:
    """Whether a name means a checkpoint: a run, an exported model, the released files or a folder with them.

    False for all else, whether or not there is a file or a folder of that name.
    """
    if checkpoint == RELEASED_NAME or checkpoint in list_checkpoints(root):
        return True
    try:
        path = Path(checkpoint).expanduser()
        if (exported := exported_file(checkpoint)) is not None:
            return bool(exported_facts(exported))
        files = [(file.name, *file.other_names) for file in pretrained_named(RELEASED_NAME).files]
        return all(any((path / name).is_file() for name in names) for names in files)
    except (OSError, ValueError, RuntimeError):  # not readable, a NUL, the home of an unknown user
        return False


def resolve_checkpoint(root: UPath, checkpoint: str) -> str:
    """A checkpoint by name; if none is named, run `default` if it is trained, else the starter model.

    Raises:
        FileNotFoundError: none is named, that run is not trained, and the starter model is not installed.
    """
    if checkpoint:
        return checkpoint
    if current(root, RENDERING_STAGE, DEFAULT_RUN) is not None:
        return DEFAULT_RUN
    if not STARTER_FILE.is_file():
        known = published_partitions(root, RENDERING_STAGE)
        raise FileNotFoundError(
            f"no checkpoint is named, run {DEFAULT_RUN!r} is not trained under {root} (runs that are: "
            f"{', '.join(known) or 'none'}), and the starter model is missing: no file {STARTER_FILE}. "
            "Train a run: pdfgc train all"
        )
    logger.info("using the starter model (weights/starter, %d px)", exported_facts(STARTER_FILE)["side_px"])
    return STARTER_NAME


def list_checkpoints(root: UPath) -> list[str]:
    """Names of the runs that can render videos, and the starter model if it is installed.

    The first is what an empty name means: run `default` if it is trained, else the starter model.
    """
    runs = published_partitions(root, RENDERING_STAGE)
    starter = [STARTER_NAME] if STARTER_FILE.is_file() else []
    first = [DEFAULT_RUN] if DEFAULT_RUN in runs else starter
    return list(dict.fromkeys([*first, *runs, *starter]))


def exported_facts(file: Path) -> dict[str, Any]:
    """The facts in the header of an exported model; see `evaluation.animation.exported_model`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or not an exported model.
    """
    if not file.is_file():
        what = "the starter model is missing: " if file == STARTER_FILE else ""
        raise FileNotFoundError(f"{what}no file {file}; `pdfgc export RUN FILE` writes such a file")
    try:
        with safe_open(file, framework="np") as opened:
            metadata = opened.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{file} cannot be read as weights: {error}") from error
    if FACTS_KEY not in metadata:
        raise ValueError(f"{file} is not an exported model: its metadata lacks {FACTS_KEY!r}")
    try:
        facts: Any = json.loads(metadata[FACTS_KEY])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not an exported model: {FACTS_KEY!r} is no JSON ({error})") from error
    if not isinstance(facts, dict) or not facts.keys() >= FACTS:
        raise ValueError(f"{file} is not an exported model: {FACTS_KEY!r} lacks {', '.join(sorted(FACTS))}")
    side_px = facts["side_px"]
    if not isinstance(side_px, int) or largest_size([facts["networks"], side_px]) > LARGEST_SIZE:
        raise ValueError(f"{file}: a size of its networks is above {LARGEST_SIZE} or no number")
    return facts


def largest_size(value: Any) -> int | float:
    """The largest number in a JSON value, without random seeds; infinite for NaN and long lists."""
    if isinstance(value, dict):
        return max((largest_size(item) for name, item in value.items() if name != "random_seed"), default=0)
    if isinstance(value, list):
        return math.inf if len(value) > LONGEST_LIST else max(map(largest_size, value), default=0)
    if isinstance(value, int | float):
        return math.inf if math.isnan(value) else abs(value)
    return 0


def separates_gaze_from_blinks(root: UPath, checkpoint: str) -> bool:
    """Whether gaze and blinks can have separate strengths.

    They can for released files, and for runs and exported models whose eye stage measured the parts.

    Args:
        root: Of training runs.
        checkpoint: As `evaluation.animation.loading.load_talking_head` takes it; False for what is neither.
    """
    if not checkpoint:
        return False
    if is_released(checkpoint):
        return True
    exported = exported_file(checkpoint)
    if exported is not None:
        return exported.is_file() and _has_eye_axes(exported)
    last = None if "/" in checkpoint else current(root, RENDERING_STAGE, checkpoint)
    if last is None:
        return False
    config = TrainingJob.read(local_copy(last.directory) / JOB_NAME).config
    eye = current(root, EYE_STAGE, config.parents_run or config.run)
    if eye is None or WEIGHTS_NAME not in eye.manifest.files:
        return False
    return _has_eye_axes(local_copy(eye.directory) / WEIGHTS_NAME)


def side_px_of(root: UPath, checkpoint: str) -> int | None:
    """Side of the pictures that a checkpoint renders; None for what is no checkpoint."""
    exported = exported_file(checkpoint)
    if exported is not None:
        return int(exported_facts(exported)["side_px"]) if exported.is_file() else None
    if is_released(checkpoint):
        return CROP_SIDE_PX
    last = current(root, RENDERING_STAGE, checkpoint) if checkpoint and "/" not in checkpoint else None
    if last is None:
        return None
    value: Any = last.manifest.settings
    for name in ("networks", "appearance", "trunk", "image_side_px"):
        value = value[name]
    return int(value)


def _has_eye_axes(file: Path) -> bool:
    with safe_open(file, framework="np") as opened:
        return any(name.startswith(f"{EYE_AXES_PART}.") for name in opened.keys())  # noqa: SIM118
