"""The table of batch steps, and how a step is run or found to be current.

Dagster's assets, the command line and the staleness report know the steps from this table alone. To add a
step, write a module with a `Step` and add it to `STEPS`; if it has settings, add a field to
`PreprocessingSettings`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from upath import UPath

from preprocessing.anchors import eye_anchors
from preprocessing.anchors.eye_anchors import EyeAnchorSettings
from preprocessing.audio.sound_landmarks import LANDMARKS_TABLE
from preprocessing.clips import selection
from preprocessing.clips.selection import ClipSettings
from preprocessing.clips.store import CLIPS_TAR
from preprocessing.dataset import packing
from preprocessing.dataset.packing import ShardSettings
from preprocessing.faces import face_tracks
from preprocessing.faces.video import FaceTrackSettings
from preprocessing.labellers.backend import LABELLERS_NAME
from preprocessing.labels import gaze, identity, lip_sync, pose
from preprocessing.labels.gaze import GazeLabelSettings
from preprocessing.labels.identity import IdentitySettings
from preprocessing.labels.lip_sync import LipSyncScoreSettings
from preprocessing.labels.pose import PoseLabelSettings
from preprocessing.orchestration.step import Step, StepRun, VideoBatch
from storage.fingerprint import fingerprint
from storage.manifest import Input
from storage.publishing import BuildReport, Published, Recipe, current, materialise, staleness
from storage.root import local_copy
from storage.settings import Settings
from weights.resolve import ResolvedWeights, resolve_weights

STEPS: Final[Mapping[str, Step[Any]]] = {
    step.name: step
    for step in (
        face_tracks.STEP,
        selection.STEP,
        pose.STEP,
        gaze.STEP,
        lip_sync.STEP,
        eye_anchors.STEP,
        packing.STEP,
    )
}
"""In an order in which they can run."""

OPTIONAL_STEPS: Final[Mapping[str, Step[Any]]] = {step.name: step for step in (identity.STEP,)}
"""Run on request only: shards do not need them, and no reprocessing plan contains them."""

TO_TRY_AGAIN: Final = "to try again"  # ends why a step is stale whose other videos are kept


class PreprocessingSettings(Settings):
    """Settings of every step, by the step's name."""

    face_tracks: FaceTrackSettings = FaceTrackSettings()
    clips: ClipSettings = ClipSettings()
    pose_labels: PoseLabelSettings = PoseLabelSettings()
    gaze_labels: GazeLabelSettings = GazeLabelSettings()
    lip_sync_scores: LipSyncScoreSettings = LipSyncScoreSettings()
    eye_anchors: EyeAnchorSettings = EyeAnchorSettings()
    shards: ShardSettings = ShardSettings()
    identity_embeddings: IdentitySettings = IdentitySettings()


def step_named(name: str) -> Step[Any]:
    """A step of `STEPS` or `OPTIONAL_STEPS`."""
    return STEPS[name] if name in STEPS else OPTIONAL_STEPS[name]


def step_settings(step: Step[Any], settings: PreprocessingSettings) -> Any:
    """The settings of one step; its defaults where `PreprocessingSettings` has no field for it."""
    return getattr(settings, step.name, None) or step.settings()


def resolve_step_weights(
    settings: PreprocessingSettings, names: Iterable[str] | None = None
) -> dict[str, ResolvedWeights]:
    """Step -> the weights of its backend, for the steps whose backend needs any.

    Args:
        settings: of preprocessing.
        names: of the steps; None for all of `STEPS`.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a setting does not take the weights, their licence was not accepted, or a file is not the
            expected one.
    """
    resolved: dict[str, ResolvedWeights] = {}
    for name in STEPS if names is None else names:
        step = step_named(name)
        request = step.requested_weights(step_settings(step, settings))
        weights = None if request is None else resolve_weights(request.name, request.setting)
        if weights is not None:
            resolved[name] = weights
    return resolved


def run_step(
    root: UPath,
    name: str,
    batch: VideoBatch,
    settings: PreprocessingSettings,
    *,
    force: bool = False,
    retry: bool = False,
    workers: int | None = None,
    weights: ResolvedWeights | None = None,
) -> Published:
    """Publish a step's files of a batch, unless they are current.

    Args:
        root: from `open_root`.
        name: of the step, a key of `STEPS` or `OPTIONAL_STEPS`.
        batch: the videos.
        settings: of every step; only those of this step count.
        force: build even if nothing changed.
        retry: try every video again that failed or could not be read; without, only those whose reason may
            have passed.
        workers: processes; None for one a core, 0 for none.
        weights: of the step's backend; resolved from the settings if None.

    Raises:
        FileNotFoundError: the weights do not exist.
        ValueError: an upstream step has no files of this batch yet, or the weights cannot be used.
    """
    step = step_named(name)
    weights = weights or resolve_step_weights(settings, [name]).get(name)
    inputs = {upstream: _published_upstream(root, upstream, batch, name) for upstream in step.upstream}
    recipe = recipe_of(step, batch, settings, inputs, weights)

    def outdated(published: Published, replaces_another: bool) -> str | None:
        return _why_retried(step.to_retry(batch, published, retry or replaces_another))

    def build(folder: Path) -> BuildReport:
        before = current(root, name, batch.key)
        is_kept = before is not None and not force and staleness(root, recipe) is None
        retried = step.to_retry(batch, before, retry) if before is not None and is_kept else ()
        run = StepRun(
            batch=batch,
            settings=step_settings(step, settings),
            upstream={upstream: local_copy(published.directory) for upstream, published in inputs.items()},
            folder=folder,
            workers=workers,
            weights=weights,
            upstream_settings={name: published.manifest.settings for name, published in inputs.items()},
            previous=local_copy(before.directory) if before is not None and retried else None,
            retried=retried,
            retry_all=retry,
        )
        return step.build(run)

    return materialise(root, recipe, build, force=force, outdated=outdated)


def _why_retried(video_ids: tuple[str, ...]) -> str | None:
    if not video_ids:
        return None
    return f"{len(video_ids)} {'video' if len(video_ids) == 1 else 'videos'} {TO_TRY_AGAIN}"


def why_stale(
    root: UPath,
    name: str,
    batch: VideoBatch,
    settings: PreprocessingSettings,
    weights: ResolvedWeights | None = None,
) -> str | None:
    """Why `run_step` would build the step's files now; None where they are current.

    `weights` as in `run_step`, but never resolved.
    """
    step = step_named(name)
    published = {upstream: current(root, upstream, batch.key) for upstream in step.upstream}
    inputs = {upstream: found for upstream, found in published.items() if found is not None}
    if missing := published.keys() - inputs.keys():
        return f"{', '.join(name for name in step.upstream if name in missing)} not there yet"
    recipe = recipe_of(step, batch, settings, inputs, weights)
    return staleness(root, recipe, lambda current, _: _why_retried(step.to_retry(batch, current, False)))


def recipe_of(
    step: Step[Any],
    batch: VideoBatch,
    settings: PreprocessingSettings,
    inputs: Mapping[str, Published],
    weights: ResolvedWeights | None = None,
) -> Recipe:
    """Everything that decides a step's files of a batch.

    Args:
        step: the step.
        batch: the videos.
        settings: of every step.
        inputs: upstream step -> its published files.
        weights: of the step's backend; only their sha256 counts.

    Raises:
        ValueError: the backend needs weights and got none.
    """
    own_settings = step_settings(step, settings)
    # A step's files hold copies of what they need, so its inputs may be removed after the build.
    read = {
        name: published.as_input(_input_digest(name, published), build_only=True)
        for name, published in inputs.items()
    }
    facts = step.source_facts(batch)
    if facts is not None:
        read["videos"] = Input(fingerprint(facts))
    if (request := step.requested_weights(own_settings)) is not None:
        if weights is None:
            raise ValueError(f"{step.name}: the backend needs {request.setting} ({request.name}), got none")
        read["weights"] = Input(weights.sha256)
    code_version = step.full_code_version(own_settings)
    return Recipe(step.name, batch.key, code_version, step.deciding_settings(own_settings), read)


def _input_digest(name: str, published: Published) -> str:
    """Digest of what downstream steps read of a step's files.

    Of `clips` that is the tar of accepted clips, the landmarks of their videos' sound, and the record of the
    detector. Its table also changes with the reasons of refusals, which no step reads.
    """
    manifest = published.manifest
    if name != "clips":
        return manifest.content_digest
    names = (CLIPS_TAR, LANDMARKS_TABLE, LABELLERS_NAME)
    digests = [manifest.files[each].sha256 for each in names if each in manifest.files]
    return digests[0] if len(digests) == 1 else fingerprint(digests)


def _published_upstream(root: UPath, upstream: str, batch: VideoBatch, name: str) -> Published:
    published = current(root, upstream, batch.key)
    if published is None:
        raise ValueError(
            f"{name} of batch {batch.key} reads {upstream}, which is not built yet: build it first"
        )
    return published
