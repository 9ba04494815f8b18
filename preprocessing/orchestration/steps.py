"""The batch steps: which there are, what each reads, and how each is run or found to be up to date.

This table is all that Dagster's assets, the command line and the staleness report know of a step.
Adding a step is a module with a plain function and a line in `STEPS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from upath import UPath

from preprocessing.anchors import eye_anchors
from preprocessing.anchors.eye_anchors import EyeAnchorSettings
from preprocessing.clips import selection as clips
from preprocessing.clips.selection import ClipSettings
from preprocessing.clips.store import CLIPS_TAR
from preprocessing.dataset import packing as training_shards
from preprocessing.dataset.packing import ShardSettings
from preprocessing.faces import face_tracks
from preprocessing.faces.face_tracks import FaceTrackSettings
from preprocessing.labellers.weights import (
    LABELLERS_NAME,
    LabellerWeights,
    WantedWeights,
    pass_on_who_labelled,
    read_who_labelled,
)
from preprocessing.labels import gaze as gaze_labels
from preprocessing.labels import identity as identity_embeddings
from preprocessing.labels import lip_sync as lip_sync_scores
from preprocessing.labels import pose as pose_labels
from preprocessing.labels.gaze import GazeLabelSettings
from preprocessing.labels.identity import IdentitySettings
from preprocessing.labels.lip_sync import LipSyncScoreSettings
from preprocessing.labels.pose import PoseLabelSettings
from preprocessing.sources.remote import SourcePath
from storage.fingerprint import JsonValue, fingerprint
from storage.publishing import BuildReport, Published, Recipe, current, materialise, staleness
from storage.root import local_copy
from storage.settings import Settings


class PreprocessingSettings(Settings):
    """Settings of every step."""

    face_tracks: FaceTrackSettings = FaceTrackSettings()
    clips: ClipSettings = ClipSettings()
    pose_labels: PoseLabelSettings = PoseLabelSettings()
    gaze_labels: GazeLabelSettings = GazeLabelSettings()
    lip_sync_scores: LipSyncScoreSettings = LipSyncScoreSettings()
    eye_anchors: EyeAnchorSettings = EyeAnchorSettings()
    shards: ShardSettings = ShardSettings()
    identity_embeddings: IdentitySettings = IdentitySettings()


@dataclass(frozen=True)
class SourceVideo:
    """A video of a batch, as the catalog knows it."""

    video_id: str
    path: SourcePath
    relative_path: str
    identity: str


@dataclass(frozen=True)
class Batch:
    """A fixed group of videos."""

    key: str
    videos: tuple[SourceVideo, ...]


@dataclass(frozen=True)
class StepRun:
    """What a step's function is given."""

    batch: Batch
    settings: PreprocessingSettings
    upstream: Mapping[str, Path]  # step -> local folder of what it published
    folder: Path  # where to write
    workers: int | None  # processes; None: one a core
    progress: Callable[[str], None]
    weights: LabellerWeights | None  # that the step's backend runs


def _runs_no_weights(_: PreprocessingSettings) -> WantedWeights | None:
    return None


@dataclass(frozen=True)
class Step:
    """One batch step."""

    name: str
    upstream: tuple[str, ...]
    code_version: Callable[[PreprocessingSettings], str]
    settings: Callable[[PreprocessingSettings], Any]  # of all settings those that decide its files
    source_facts: Callable[[Batch], JsonValue]  # what of the batch's videos it depends on
    build: Callable[[StepRun], BuildReport]
    weights: Callable[[PreprocessingSettings], WantedWeights | None] = _runs_no_weights


DEFAULT_LABELLERS: Final = {
    "pose": pose_labels.LABELLER,
    "gaze": gaze_labels.LABELLER,
    "blink": gaze_labels.BLINK_LABELLER,
    "lip_sync": lip_sync_scores.LABELLER,
}


def _video_ids(batch: Batch) -> JsonValue:
    return [video.video_id for video in batch.videos]


def _names(batch: Batch) -> JsonValue:
    return [[video.video_id, video.identity, video.relative_path] for video in batch.videos]


def _nothing(_: Batch) -> JsonValue:
    return None


def _build_face_tracks(run: StepRun) -> BuildReport:
    videos = [face_tracks.VideoToTrack(video.video_id, video.path) for video in run.batch.videos]
    return face_tracks.make_face_tracks(
        videos,
        run.settings.face_tracks,
        run.folder,
        workers=run.workers,
        progress=run.progress,
        weights=run.weights,
    )


def _build_clips(run: StepRun) -> BuildReport:
    sources = {
        video.video_id: clips.SourceOfClips(video.identity, video.relative_path) for video in run.batch.videos
    }
    mode = run.settings.face_tracks.alignment.mode
    pass_on_who_labelled(run.upstream["face_tracks"], run.folder)
    return clips.make_clips(sources, run.upstream["face_tracks"], mode, run.settings.clips, run.folder)


def _build_eye_anchors(run: StepRun) -> BuildReport:
    return eye_anchors.make_eye_anchors(
        run.upstream["clips"],
        run.upstream["pose_labels"],
        run.upstream["gaze_labels"],
        run.settings.eye_anchors,
        run.folder,
        workers=run.workers,
        progress=run.progress,
    )


def _build_shards(run: StepRun) -> BuildReport:
    inputs = training_shards.ShardInputs(**run.upstream)
    labellers = dict(DEFAULT_LABELLERS)
    # Not of the settings: labels may still be those of a backend that was chosen before.
    for step in ("clips", "pose_labels", "gaze_labels", "lip_sync_scores"):
        labellers |= read_who_labelled(run.upstream[step])
    return training_shards.make_shards(run.batch.key, inputs, labellers, run.settings.shards, run.folder)


STEPS: Final[Mapping[str, Step]] = {
    step.name: step
    for step in (
        Step(
            "face_tracks",
            (),
            lambda settings: face_tracks.code_version(settings.face_tracks),
            lambda settings: face_tracks.recipe_settings(settings.face_tracks),
            _video_ids,
            _build_face_tracks,
            lambda settings: face_tracks.wanted_weights(settings.face_tracks),
        ),
        Step(
            "clips",
            ("face_tracks",),
            lambda _: clips.CODE_VERSION,
            lambda settings: settings.clips,
            _names,
            _build_clips,
        ),
        Step(
            "pose_labels",
            ("clips",),
            lambda settings: pose_labels.code_version(settings.pose_labels),
            lambda settings: pose_labels.recipe_settings(settings.pose_labels),
            _nothing,
            lambda run: pose_labels.make_pose_labels(
                run.upstream["clips"], run.settings.pose_labels, run.folder, run.weights
            ),
            lambda settings: pose_labels.wanted_weights(settings.pose_labels),
        ),
        Step(
            "gaze_labels",
            ("clips", "pose_labels"),
            lambda settings: gaze_labels.code_version(settings.gaze_labels),
            lambda settings: gaze_labels.recipe_settings(settings.gaze_labels),
            _nothing,
            lambda run: gaze_labels.make_gaze_labels(
                run.upstream["clips"],
                run.upstream["pose_labels"],
                run.settings.gaze_labels,
                run.folder,
                run.weights,
            ),
            lambda settings: gaze_labels.wanted_weights(settings.gaze_labels),
        ),
        Step(
            "lip_sync_scores",
            ("clips",),
            lambda settings: lip_sync_scores.code_version(settings.lip_sync_scores),
            lambda settings: lip_sync_scores.recipe_settings(settings.lip_sync_scores),
            _nothing,
            lambda run: lip_sync_scores.make_lip_sync_scores(
                run.upstream["clips"], run.settings.lip_sync_scores, run.folder, run.weights
            ),
            lambda settings: lip_sync_scores.wanted_weights(settings.lip_sync_scores),
        ),
        Step(
            "eye_anchors",
            ("clips", "pose_labels", "gaze_labels"),
            lambda _: eye_anchors.CODE_VERSION,
            lambda settings: settings.eye_anchors,
            _nothing,
            _build_eye_anchors,
        ),
        Step(
            "shards",
            ("clips", "pose_labels", "gaze_labels", "lip_sync_scores", "eye_anchors"),
            lambda _: training_shards.CODE_VERSION,
            lambda settings: training_shards.recipe_settings(settings.shards),
            _nothing,
            _build_shards,
        ),
    )
}

OPTIONAL_STEPS: Final[Mapping[str, Step]] = {
    "identity_embeddings": Step(
        "identity_embeddings",
        ("clips",),
        lambda _: identity_embeddings.CODE_VERSION,
        lambda settings: {"frames_per_clip": settings.identity_embeddings.frames_per_clip},
        _nothing,
        lambda run: identity_embeddings.make_identity_embeddings(
            run.upstream["clips"], run.settings.identity_embeddings, run.folder, run.weights
        ),
        lambda settings: identity_embeddings.wanted_weights(settings.identity_embeddings),
    ),
}
"""Run only where they are asked for: no shard is made of them, and no plan names them."""


def step_named(name: str) -> Step:
    """A step, of `STEPS` or `OPTIONAL_STEPS`."""
    return STEPS[name] if name in STEPS else OPTIONAL_STEPS[name]


def run_step(
    root: UPath,
    name: str,
    batch: Batch,
    settings: PreprocessingSettings,
    *,
    force: bool = False,
    workers: int | None = None,
    progress: Callable[[str], None] = print,
    weights: LabellerWeights | None = None,
) -> Published:
    """Make sure that a step's files of a batch are there and current.

    Args:
        root: where everything is kept.
        name: of the step, a key of `STEPS` or `OPTIONAL_STEPS`.
        batch: the videos.
        settings: of every step; only those of this step count.
        force: build even if nothing changed.
        workers: processes; one a core by default, 0 for none but this.
        progress: takes lines while the step works.
        weights: that the step's backend runs (`Step.weights` says which it wants).

    Raises:
        ValueError: where a step that it reads has not been made of this batch yet, or its backend wants
            weights and none are given.
    """
    step = step_named(name)
    inputs = {upstream: _made(root, upstream, batch, name) for upstream in step.upstream}
    recipe = recipe_of(step, batch, settings, inputs, weights)

    def build(folder: Path) -> BuildReport:
        local = {upstream: local_copy(published.directory) for upstream, published in inputs.items()}
        return step.build(StepRun(batch, settings, local, folder, workers, progress, weights))

    return materialise(root, recipe, build, force=force)


def why_stale(
    root: UPath,
    name: str,
    batch: Batch,
    settings: PreprocessingSettings,
    weights: LabellerWeights | None = None,
) -> str | None:
    """Why a step would work on a batch now; None where it would find nothing to do. As `run_step`."""
    step = step_named(name)
    inputs = {upstream: current(root, upstream, batch.key) for upstream in step.upstream}
    missing = [upstream for upstream, published in inputs.items() if published is None]
    if missing:
        return f"{', '.join(missing)} not there yet"
    there = {upstream: published for upstream, published in inputs.items() if published is not None}
    return staleness(root, recipe_of(step, batch, settings, there, weights))


def recipe_of(
    step: Step,
    batch: Batch,
    settings: PreprocessingSettings,
    inputs: Mapping[str, Published],
    weights: LabellerWeights | None = None,
) -> Recipe:
    """All that decides what a step makes of a batch.

    Args:
        step: which.
        batch: the videos.
        settings: of every step.
        inputs: what the steps that it reads have published.
        weights: that its backend runs; known by their digest, however they are named.

    Raises:
        ValueError: the backend wants weights and none are given.
    """
    digests = {name: _read_digest(name, published) for name, published in inputs.items()}
    facts = step.source_facts(batch)
    if facts is not None:
        digests["videos"] = fingerprint(facts)
    if (wanted := step.weights(settings)) is not None:
        if weights is None:
            raise ValueError(
                f"{step.name}: the backend runs {wanted.told} as {wanted.setting}, none were given"
            )
        digests["weights"] = weights.sha256
    return Recipe(step.name, batch.key, step.code_version(settings), step.settings(settings), digests)


def _read_digest(name: str, published: Published) -> str:
    """What the steps below read of a step's files.

    A changed threshold also changes why clips were refused, which nobody below reads: the tar of the
    accepted ones decides (it holds their identities and sources too), and who found the faces, where that
    is told: samples tell it too.
    """
    manifest = published.manifest
    if name != "clips":
        return manifest.content_digest
    clips_sha256, told = manifest.files[CLIPS_TAR].sha256, manifest.files.get(LABELLERS_NAME)
    return clips_sha256 if told is None else fingerprint([clips_sha256, told.sha256])


def _made(root: UPath, upstream: str, batch: Batch, name: str) -> Published:
    published = current(root, upstream, batch.key)
    if published is None:
        raise ValueError(f"{name} of batch {batch.key} reads {upstream}, not made yet: make it first")
    return published
