"""A step's recipe follows its backend; the defaults' recipes are those of before there were any backends."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from preprocessing.clips.store import CLIPS_TAR
from preprocessing.labellers.face_landmarker import FaceLandmarkerSettings
from preprocessing.labellers.weights import LabellerWeights, check_choice
from preprocessing.labels.gaze import BLINK_LABELLER, LABELLER, GazeLabelSettings
from preprocessing.labels.lip_sync import LipSyncScoreSettings
from preprocessing.labels.pose import BACKENDS, PoseLabelSettings
from preprocessing.orchestration.steps import STEPS, Batch, PreprocessingSettings, SourceVideo, recipe_of
from storage.manifest import FileRecord, Manifest
from storage.publishing import Published, Recipe

BATCH = Batch("b00000", (SourceVideo("0123456789abcdef", Path("ann.mp4"), "ann.mp4", "ann"),))
# Taken on the day before backends came in, of the same settings, versions and inputs; of face_tracks before
# its detector could be chosen, of code version 6.
FINGERPRINTS = {
    "face_tracks": "89494bb43f39bed04d7fddbd33c749a282655d9813204fb63d5f9cf0c0fda14a",
    "clips": "a715076d2b90fe516f298074f10f8f317caa2758ed10818387970841af6f78e0",
    "pose_labels": "9359a4c42eb0ed0714624391a215bb0edb2385ac63c00a1157b97465f5b9c246",
    "gaze_labels": "6abcbca0a59a22fc6bad5925eba6e62f1118ec33f7dad0c19f0ddb6e2b172e3b",
    "lip_sync_scores": "5578907f35b932357e8c1cd8eaa5f30b5fad353f6aafef4aaf7d491d7ca2607a",
    "eye_anchors": "cbc58092448bb2042c01e0b2ef9f6e9875db521ad50636db95d66128c3fde025",
    "shards": "3b6c93e4b0d221c92ead83e26c004dc2dcf2e262dc2b7732d51bae96326fb331",
}


def published(step: str) -> Published:
    files = {CLIPS_TAR: FileRecord(1, "a" * 64), "labels.parquet": FileRecord(2, step.ljust(64, "0"))}
    manifest = Manifest(step, "b00000", "", "", {}, {}, files, {}, {}, 0.0, 0.0, "")
    return Published(manifest, UPath("nowhere"), built=False, reason="")


def recipe_with(step: str, settings: PreprocessingSettings, weights: LabellerWeights | None) -> Recipe:
    inputs = {name: published(name) for name in STEPS[step].upstream}
    return recipe_of(STEPS[step], BATCH, settings, inputs, weights)


def test_default_settings_have_the_fingerprints_that_they_had_before_backends() -> None:
    assert {
        step: recipe_with(step, PreprocessingSettings(), None).fingerprint for step in STEPS
    } == FINGERPRINTS


WEIGHTS = LabellerWeights(Path("weights.pth"), "ab" * 32, "[]")
CHOICES = [
    ("pose_labels", PoseLabelSettings(backend="deep3d"), "1+deep3d 1", "deep3d_facerecon", "deep3d_weights"),
    (
        "pose_labels",
        PoseLabelSettings(backend="face_landmarker"),
        "1+face_landmarker 1",
        "face_landmarker",
        "face_landmarker_weights",
    ),
    (
        "gaze_labels",
        GazeLabelSettings(backend="l2cs"),
        f"1+{LABELLER}+{BLINK_LABELLER}+l2cs 1",
        "l2cs_gaze360",
        "l2cs_weights",
    ),
    (
        "lip_sync_scores",
        LipSyncScoreSettings(backend="syncnet_v2"),
        "1+syncnet_v2 1",
        "syncnet_v2",
        "syncnet_weights",
    ),
]


@pytest.mark.parametrize(("step", "chosen", "version", "weights", "setting"), CHOICES)
def test_a_backend_changes_the_recipe_of_its_step_alone(
    step: str, chosen: Any, version: str, weights: str, setting: str
) -> None:
    settings = PreprocessingSettings().replace(**{step: chosen})
    wanted = STEPS[step].weights(settings)
    assert (wanted.told, wanted.setting) == (weights, setting) if wanted is not None else False
    recipes = {name: recipe_with(name, settings, WEIGHTS if name == step else None) for name in STEPS}
    changed = {name for name, recipe in recipes.items() if recipe.fingerprint != FINGERPRINTS[name]}
    assert changed == {step}
    assert recipes[step].code_version == version
    assert recipes[step].inputs["weights"] == "ab" * 32
    other = replace(WEIGHTS, sha256="cd" * 32)
    assert recipe_with(step, settings, other).fingerprint != recipes[step].fingerprint
    moved = replace(WEIGHTS, path=Path("elsewhere.pth"), record="[1]")
    assert recipe_with(step, settings, moved).fingerprint == recipes[step].fingerprint


@pytest.mark.parametrize(("step", "chosen", "version", "weights", "setting"), CHOICES)
def test_a_backend_without_its_weights_and_weights_without_a_backend_are_told(
    step: str, chosen: Any, version: str, weights: str, setting: str
) -> None:
    assert version
    settings = PreprocessingSettings().replace(**{step: chosen})
    with pytest.raises(
        ValueError, match=f"^{step}: the backend runs {weights} as {setting}, none were given"
    ):
        recipe_with(step, settings, None)
    with pytest.raises(
        ValueError, match=f"^{step}: weights are 'x', but backend (mean_face|iris|energy) runs"
    ):
        type(chosen)(weights="x")


def test_a_backend_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"^pose_labels: no backend 'other'; there are mean_face, deep3d, f"):
        check_choice("pose_labels", "other", "", "mean_face", BACKENDS)


def test_the_settings_of_another_backend_change_nothing() -> None:
    lenient = FaceLandmarkerSettings(minimum_confidence=0.25)
    chosen = PoseLabelSettings(backend="deep3d")
    recipes = [
        recipe_with("pose_labels", PreprocessingSettings().replace(pose_labels=one), WEIGHTS)
        for one in (chosen, chosen.replace(face_landmarker=lenient))
    ]
    assert recipes[0] == recipes[1]
    by_default = PoseLabelSettings(face_landmarker=lenient)
    assert (
        recipe_with("pose_labels", PreprocessingSettings().replace(pose_labels=by_default), None).fingerprint
        == FINGERPRINTS["pose_labels"]
    )
