"""A step's recipe follows its selected backend, and nothing else of the backends."""

from pathlib import Path

import pytest
from upath import UPath

from preprocessing.clips.store import CLIPS_TAR
from preprocessing.labellers.face_landmarker import FaceLandmarkerSettings
from preprocessing.labels.gaze import GazeLabelSettings
from preprocessing.labels.lip_sync import LipSyncScoreSettings
from preprocessing.labels.pose import PoseLabelSettings
from preprocessing.orchestration.step import SourceVideo, VideoBatch
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, recipe_of
from storage.manifest import FileRecord, Manifest
from storage.publishing import Published, Recipe
from tests.factories.preprocessing.backends import weights_at
from weights.resolve import ResolvedWeights

BATCH = VideoBatch("b00000", (SourceVideo("0123456789abcdef", Path("ann.mp4"), "ann.mp4", "ann"),))
WEIGHTS = weights_at(Path("weights.pth"), "a")


def published(step: str) -> Published:
    files = {CLIPS_TAR: FileRecord(1, "a" * 64), "labels.parquet": FileRecord(2, step.ljust(64, "0"))}
    manifest = Manifest(step, "b00000", "", "", {}, {}, files, {}, {}, 0.0, 0.0, "")
    return Published(manifest, UPath("nowhere"), built=False, reason="")


def recipe_with(step: str, settings: PreprocessingSettings, weights: ResolvedWeights | None) -> Recipe:
    inputs = {name: published(name) for name in STEPS[step].upstream}
    return recipe_of(STEPS[step], BATCH, settings, inputs, weights)


def steps_changed(settings: PreprocessingSettings, weights: ResolvedWeights | None = None) -> set[str]:
    """Steps whose fingerprint differs from that of the default settings."""
    default = PreprocessingSettings()
    changed = set[str]()
    for name, step in STEPS.items():
        needs_weights = step.requested_weights(getattr(settings, name)) is not None
        recipe = recipe_with(name, settings, weights if needs_weights else None)
        if recipe.fingerprint != recipe_with(name, default, None).fingerprint:
            changed.add(name)
    return changed


BACKENDS = [
    ("pose_labels", PoseLabelSettings(backend="deep3d"), "deep3d 1", "deep3d_facerecon", "deep3d_weights"),
    (
        "pose_labels",
        PoseLabelSettings(backend="face_landmarker"),
        "face_landmarker 1",
        "face_landmarker",
        "face_landmarker_weights",
    ),
    ("gaze_labels", GazeLabelSettings(backend="l2cs"), "l2cs 1", "l2cs_gaze360", "l2cs_weights"),
    (
        "lip_sync_scores",
        LipSyncScoreSettings(backend="syncnet_v2"),
        "syncnet_v2 1",
        "syncnet_v2",
        "syncnet_weights",
    ),
]
StepSettings = PoseLabelSettings | GazeLabelSettings | LipSyncScoreSettings


@pytest.mark.parametrize(("step", "selected", "version", "weights", "setting"), BACKENDS)
def test_backend_changes_the_recipe_of_its_step_alone(
    step: str, selected: StepSettings, version: str, weights: str, setting: str
) -> None:
    settings = PreprocessingSettings().replace(**{step: selected})
    request = STEPS[step].requested_weights(selected)
    assert request is not None
    assert (request.name, request.setting) == (weights, setting)
    assert steps_changed(settings, WEIGHTS) == {step}
    recipe = recipe_with(step, settings, WEIGHTS)
    assert recipe.code_version.endswith(f"+{version}")
    assert recipe.inputs["weights"].digest == WEIGHTS.sha256


@pytest.mark.parametrize(("step", "selected"), [row[:2] for row in BACKENDS])
def test_weights_count_by_their_digest_alone(step: str, selected: StepSettings) -> None:
    settings = PreprocessingSettings().replace(**{step: selected})
    recipe = recipe_with(step, settings, WEIGHTS)
    assert recipe_with(step, settings, weights_at(Path("weights.pth"), "c")).fingerprint != recipe.fingerprint
    assert recipe_with(step, settings, weights_at(Path("moved.pth"))).fingerprint == recipe.fingerprint
    renamed = PreprocessingSettings().replace(**{step: selected.replace(weights="moved.pth")})
    assert recipe_with(step, renamed, WEIGHTS).fingerprint == recipe.fingerprint


@pytest.mark.parametrize(("step", "selected", "version", "weights", "setting"), BACKENDS)
def test_recipe_refuses_missing_weights(
    step: str, selected: StepSettings, version: str, weights: str, setting: str
) -> None:
    assert version
    settings = PreprocessingSettings().replace(**{step: selected})
    with pytest.raises(ValueError, match=rf"^{step}: the backend needs {setting} \({weights}\), got none$"):
        recipe_with(step, settings, None)


@pytest.mark.parametrize("settings_class", [PoseLabelSettings, GazeLabelSettings, LipSyncScoreSettings])
def test_default_backend_refuses_weights(settings_class: type[StepSettings]) -> None:
    with pytest.raises(
        ValueError, match=r"backend (mean_face|iris|canonical) uses no weights, got weights 'x'"
    ):
        settings_class(weights="x")


def test_settings_of_other_backends_change_nothing() -> None:
    lenient = FaceLandmarkerSettings(minimum_confidence=0.25)
    deep3d = PoseLabelSettings(backend="deep3d")
    fingerprints = {
        recipe_with("pose_labels", PreprocessingSettings(pose_labels=settings), WEIGHTS).fingerprint
        for settings in (deep3d, deep3d.replace(face_landmarker=lenient))
    }
    assert len(fingerprints) == 1
    assert not steps_changed(PreprocessingSettings(pose_labels=PoseLabelSettings(face_landmarker=lenient)))


def test_iris_settings_decide_gaze_labels_of_every_backend() -> None:
    iris = GazeLabelSettings().iris.replace(vertical_gain=2.0)
    assert steps_changed(PreprocessingSettings(gaze_labels=GazeLabelSettings(iris=iris))) == {"gaze_labels"}
    fingerprints = {
        recipe_with("gaze_labels", PreprocessingSettings(gaze_labels=settings), WEIGHTS).fingerprint
        for settings in (
            GazeLabelSettings(backend="l2cs"),
            GazeLabelSettings(backend="l2cs", iris=iris),
        )
    }
    assert len(fingerprints) == 2
