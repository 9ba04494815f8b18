"""Asset checks. Those that block keep damage from spreading into what is built on it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    asset_check,
)
from upath import UPath

from pipelines.partitions import batches
from pipelines.resources import Preprocessing, Workspace
from preprocessing.checks import (
    CheckOutcome,
    check_anchors_verified,
    check_checksums,
    check_gaze_in_range,
    check_labels_complete,
    check_pose_in_range,
    check_refused_share,
)
from preprocessing.steps import PreprocessingSettings
from storage.publishing import Published, current
from storage.root import local_copy

Look = Callable[[Mapping[str, Published], PreprocessingSettings], CheckOutcome]


def _check(name: str, reads: tuple[str, ...], description: str, look: Look, *, blocking: bool) -> AssetChecksDefinition:
    """A check of `reads[0]`, which may compare it with what the other steps in `reads` made."""

    @asset_check(asset=reads[0], name=name, description=description, blocking=blocking, partitions_def=batches)
    def check(
        context: AssetCheckExecutionContext, workspace: Workspace, preprocessing: Preprocessing
    ) -> AssetCheckResult:
        root, key = workspace.open(), context.partition_key
        published = {step: _published(root, step, key) for step in reads}
        outcome = look(published, preprocessing.to_settings())
        return check_result(outcome, blocking=blocking)

    return check


def check_result(outcome: CheckOutcome, *, blocking: bool) -> AssetCheckResult:
    """An outcome as Dagster shows it."""
    return AssetCheckResult(
        passed=outcome.passed,
        severity=AssetCheckSeverity.ERROR if blocking else AssetCheckSeverity.WARN,
        description=outcome.explanation,
        metadata=dict(outcome.figures),
    )


def _published(root: UPath, step: str, key: str) -> Published:
    published = current(root, step, key)
    if published is None:
        raise ValueError(f"{step} of batch {key} is not made yet, so there is nothing to check: make it first")
    return published


def _folder(published: Published) -> Path:
    return local_copy(published.directory)


batch_checks = [
    _check(
        "most_candidates_accepted",
        ("clips",),
        "No more than half of the candidates were refused.",
        lambda made, _: check_refused_share(_folder(made["clips"])),
        blocking=False,
    ),
    _check(
        "pose_in_range",
        ("pose_labels",),
        "Every pose is finite and one that a head in the crop can have.",
        lambda made, _: check_pose_in_range(_folder(made["pose_labels"])),
        blocking=True,
    ),
    _check(
        "pose_complete",
        ("pose_labels", "clips"),
        "Every frame of every clip has a pose.",
        lambda made, _: check_labels_complete(_folder(made["clips"]), _folder(made["pose_labels"])),
        blocking=True,
    ),
    _check(
        "gaze_in_range",
        ("gaze_labels",),
        "Every gaze is one that an eye can have, every blink lies in 0 to 1.",
        lambda made, _: check_gaze_in_range(_folder(made["gaze_labels"])),
        blocking=True,
    ),
    _check(
        "gaze_complete",
        ("gaze_labels", "clips"),
        "Every frame of every clip has a gaze.",
        lambda made, _: check_labels_complete(_folder(made["clips"]), _folder(made["gaze_labels"])),
        blocking=True,
    ),
    _check(
        "anchors_verified",
        ("eye_anchors",),
        "No anchor was kept whose measured error exceeds its bound.",
        lambda made, settings: check_anchors_verified(_folder(made["eye_anchors"]), settings.eye_anchors),
        blocking=True,
    ),
    _check(
        "checksums",
        ("shards",),
        "Every shard is there and has the sha256 of its manifest.",
        lambda made, _: check_checksums(made["shards"]),
        blocking=True,
    ),
]
