"""Who made the labels of the data set; what a stage reads of them may be of one labeller alone.

Labels of two labellers, or of two versions or files of weights of one, differ in zero and scale: a stage
that learns from both learns which batch a face came from. Reads the data set's `statistics.json`; imports
no torch.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from upath import UPath

from storage.publishing import current
from storage.transfer import read_bytes
from training.jobs.config import TrainingConfig
from training.stage_catalog import stage_info

STATISTICS_NAME: Final = "statistics.json"

Labellers = Mapping[str, Mapping[str, int | None]]
"""Label -> labeller -> how many samples; None where the data set does not tell."""


def read_labellers(root: UPath) -> Labellers:
    """Who labelled the current data set; {} where there is none or it does not tell."""
    published = current(root, "dataset", "whole")
    if published is None or STATISTICS_NAME not in published.manifest.files:
        return {}
    told: Any = json.loads(read_bytes(published.directory / STATISTICS_NAME)).get("labellers", {})
    # Data sets of before samples were counted tell a list of names.
    return {
        label: dict.fromkeys(found) if isinstance(found, list) else dict(found)
        for label, found in told.items()
    }


def mixed_labellers(root: UPath, stage: str) -> Labellers:
    """Of the labels that a stage reads those of more than one labeller, by name."""
    found = read_labellers(root)
    return {label: found[label] for label in stage_info(stage).labels if len(found.get(label, {})) > 1}


def allowed_mix(root: UPath, stage: str, config: TrainingConfig) -> dict[str, dict[str, list[str]]]:
    """What a recipe tells of an allowed mix: `mixed_labellers`, by label; {} where nothing is mixed."""
    if not config.allow_mixed_labellers:
        return {}
    mixed = {label: sorted(found) for label, found in mixed_labellers(root, stage).items()}
    return {"mixed_labellers": mixed} if mixed else {}


def require_one_labeller(
    root: UPath, stage: str, config: TrainingConfig, progress: Callable[[str], None]
) -> None:
    """Refuse a stage whose labels come of several labellers, unless the config allows it.

    Args:
        root: of the data set.
        stage: that is to be trained.
        config: says whether a mix is allowed.
        progress: is told of a mix that is allowed, and where the data set does not say who labelled.

    Raises:
        ValueError: as said: which label, by whom, how many samples of each, and the ways out.
    """
    if not read_labellers(root):
        progress(f"{stage}: the data set does not tell who made its labels; they are taken to be of one kind")
        return
    mixed = mixed_labellers(root, stage)
    if not mixed:
        return
    told = f"{stage} reads labels of different labellers: {'; '.join(map(_told, mixed, mixed.values()))}"
    if config.allow_mixed_labellers:
        progress(f"{told}: allowed by allow_mixed_labellers")
        return
    raise ValueError(
        f"{told}. Make the stale batches again (pdfgc preprocess or the job reprocess_stale), then dataset, "
        "or allow it by allow_mixed_labellers"
    )


def _told(label: str, found: Mapping[str, int | None]) -> str:
    by = [f"{name} ({_samples(count)})" for name, count in sorted(found.items())]
    return f"{label} by {' and by '.join(by)}"


def _samples(count: int | None) -> str:
    return "number of samples not told" if count is None else f"samples: {count:,}"
