"""Asset checks of the batch steps. Those that block keep damage from what is built on it.

They run with the asset that they check: Dagster's separate checks know no partitions yet but as a
preview.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dagster import AssetCheckResult, AssetCheckSeverity, AssetCheckSpec
from upath import UPath

from preprocessing.orchestration.checks import (
    check_anchors_verified,
    check_checksums,
    check_clips_left_out,
    check_gaze_in_range,
    check_labels_complete,
    check_pose_in_range,
    check_refused_share,
)
from preprocessing.orchestration.steps import PreprocessingSettings
from storage.checks import CheckOutcome
from storage.publishing import Published, current
from storage.root import local_copy

Look = Callable[[Mapping[str, Published], PreprocessingSettings], CheckOutcome]


@dataclass(frozen=True)
class StepCheck:
    """A check of what a step made, perhaps against what other steps made."""

    name: str
    description: str
    blocking: bool
    look: Look
    beside: tuple[str, ...] = ()  # other steps that it reads


STEP_CHECKS: Final[Mapping[str, tuple[StepCheck, ...]]] = {
    "clips": (
        StepCheck(
            "most_candidates_accepted",
            "No more than half of the candidates were refused.",
            blocking=False,
            look=lambda made, _: check_refused_share(_folder(made["clips"])),
        ),
    ),
    "pose_labels": (
        StepCheck(
            "pose_in_range",
            "Every pose is finite and one that a head in the crop can have.",
            blocking=True,
            look=lambda made, _: check_pose_in_range(_folder(made["pose_labels"])),
        ),
        StepCheck(
            "pose_complete",
            "Every frame of every clip has a pose.",
            blocking=True,
            look=lambda made, _: check_labels_complete(_folder(made["clips"]), _folder(made["pose_labels"])),
            beside=("clips",),
        ),
    ),
    "gaze_labels": (
        StepCheck(
            "gaze_in_range",
            "Every gaze is one that an eye can have, every blink lies in 0 to 1.",
            blocking=True,
            look=lambda made, _: check_gaze_in_range(_folder(made["gaze_labels"])),
        ),
        StepCheck(
            "gaze_complete",
            "Every frame of every clip has a gaze.",
            blocking=True,
            look=lambda made, _: check_labels_complete(_folder(made["clips"]), _folder(made["gaze_labels"])),
            beside=("clips",),
        ),
    ),
    "eye_anchors": (
        StepCheck(
            "anchors_verified",
            "No anchor was kept whose measured error exceeds its bound.",
            blocking=True,
            look=lambda made, settings: check_anchors_verified(
                _folder(made["eye_anchors"]), settings.eye_anchors
            ),
        ),
    ),
    "shards": (
        StepCheck(
            "most_clips_packed",
            "No more than half of the clips were left out for their lip sync.",
            blocking=False,
            look=lambda made, _: check_clips_left_out(made["shards"]),
        ),
        StepCheck(
            "checksums",
            "Every shard is there and has the sha256 of its manifest.",
            blocking=True,
            look=lambda made, _: check_checksums(made["shards"]),
        ),
    ),
}


def check_specs(step: str) -> list[AssetCheckSpec]:
    """The checks of a step, for its asset."""
    return [
        AssetCheckSpec(check.name, asset=step, description=check.description, blocking=check.blocking)
        for check in STEP_CHECKS.get(step, ())
    ]


def run_checks(root: UPath, step: str, batch: str, settings: PreprocessingSettings) -> list[AssetCheckResult]:
    """Look at what a step has published of a batch."""
    results = []
    for check in STEP_CHECKS.get(step, ()):
        made = {name: _published(root, name, batch) for name in (step, *check.beside)}
        outcome = check.look(made, settings)
        results.append(check_result(outcome, name=check.name, blocking=check.blocking))
    return results


def check_result(outcome: CheckOutcome, *, name: str, blocking: bool) -> AssetCheckResult:
    """An outcome as Dagster shows it."""
    return AssetCheckResult(
        passed=outcome.passed,
        check_name=name,
        severity=AssetCheckSeverity.ERROR if blocking else AssetCheckSeverity.WARN,
        description=outcome.description,
        metadata=dict(outcome.values),
    )


def _published(root: UPath, step: str, batch: str) -> Published:
    published = current(root, step, batch)
    if published is None:
        raise ValueError(f"{step} of batch {batch} is not made yet: make it first, then check it")
    return published


def _folder(published: Published) -> Path:
    return local_copy(published.directory)
