"""Labellers of the data set: each label that a stage reads must come from one labeller.

Labels of two labellers, or of two versions or weights of one, differ in zero and scale: a stage trained on
both learns which batch a face is from. Reads the data set's `statistics.json`; imports no torch.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from upath import UPath

from preprocessing.schema import STATISTICS_NAME
from storage.objects import read_bytes
from storage.publishing import current
from training.jobs.config import TrainingConfig
from training.stage_catalog import stage_info

Labellers = Mapping[str, Mapping[str, int]]
"""Label -> labeller -> number of samples."""

logger = logging.getLogger(__name__)


def read_labellers(root: UPath) -> Labellers:
    """The labellers of the current data set; {} where there is none, or it does not record them."""
    published = current(root, "dataset", "whole")
    if published is None or STATISTICS_NAME not in published.manifest.files:
        return {}
    statistics: Any = json.loads(read_bytes(published.directory / STATISTICS_NAME))
    return {label: dict(counts) for label, counts in statistics.get("labellers", {}).items()}


def mixed_labellers(root: UPath, stage: str) -> Labellers:
    """The labels that a stage reads and that more than one labeller made."""
    labellers = read_labellers(root)
    read = stage_info(stage).labels
    return {label: labellers[label] for label in read if len(labellers.get(label, {})) > 1}


def allowed_mix(root: UPath, stage: str, config: TrainingConfig) -> dict[str, dict[str, list[str]]]:
    """What the recipe records of an allowed mix: the labellers by label; {} where nothing is mixed."""
    if not config.allow_mixed_labellers:
        return {}
    mixed = {label: sorted(counts) for label, counts in mixed_labellers(root, stage).items()}
    return {"mixed_labellers": mixed} if mixed else {}


def require_one_labeller(root: UPath, stage: str, config: TrainingConfig) -> None:
    """Require one labeller for each label that a stage reads, unless `allow_mixed_labellers` is set.

    Logs an allowed mix, and a data set that does not record its labellers, which is taken as unmixed.

    Raises:
        ValueError: a label has several labellers; names them and their numbers of samples.
    """
    if not read_labellers(root):
        logger.warning("The data set does not record its labellers; assuming one for each label of %s", stage)
        return
    mixed = mixed_labellers(root, stage)
    if not mixed:
        return
    message = f"{stage} reads labels of different labellers: {'; '.join(map(_mix, mixed, mixed.values()))}"
    if config.allow_mixed_labellers:
        logger.warning("%s (allowed by allow_mixed_labellers)", message)
        return
    raise ValueError(
        f"{message}. Relabel the stale batches (`pdfgc preprocess`, or the job reprocess_stale), then make "
        "`dataset`, or set allow_mixed_labellers"
    )


def _mix(label: str, counts: Mapping[str, int]) -> str:
    by = [f"{name} (samples: {count:,})" for name, count in sorted(counts.items())]
    return f"{label} by {' and by '.join(by)}"
