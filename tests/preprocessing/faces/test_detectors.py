"""The detector of `face_tracks`: in settings, recipes and samples, and its errors."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from preprocessing.faces.candidate_tables import read_candidates
from preprocessing.faces.detectors import DetectorSettings
from preprocessing.faces.face_tracks import CODE_VERSION, make_face_tracks
from preprocessing.faces.tracking import FaceTracker, TrackingSettings
from preprocessing.faces.video import FaceTrackSettings
from preprocessing.labellers.backend import read_labellers
from preprocessing.orchestration.step import VideoBatch
from preprocessing.orchestration.steps import (
    STEPS,
    PreprocessingSettings,
    resolve_step_weights,
    run_step,
    why_stale,
)
from storage.root import local_copy
from tests.factories.preprocessing.backends import weights_at
from tests.factories.preprocessing.scrfd import write_fixed_detector
from tests.factories.preprocessing.videos import face_pictures, source_video, write_face_video
from tests.preprocessing.labellers.test_backend_recipes import WEIGHTS, recipe_with, steps_changed
from weights.catalog import PRETRAINED
from weights.resolve import ResolvedWeights

FACE = (100.0, 100.0, 540.0, 560.0)  # of the pictures of `video_makers`, at 640 px


def with_detector(detector: DetectorSettings) -> PreprocessingSettings:
    return PreprocessingSettings(face_tracks=FaceTrackSettings(tracking=TrackingSettings(detector=detector)))


INSIGHTFACE = with_detector(DetectorSettings(backend="insightface"))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fixed_detector(tmp_path_factory.mktemp("network") / "fixed.onnx", FACE)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "ann.mp4"
    write_face_video(path, 30)
    return path


def test_detector_changes_the_recipe_of_face_tracks_alone() -> None:
    request = STEPS["face_tracks"].requested_weights(INSIGHTFACE.face_tracks)
    assert request is not None
    assert (request.name, request.setting) == ("buffalo_l", "insightface_detector_weights")
    assert steps_changed(INSIGHTFACE, WEIGHTS) == {"face_tracks"}
    recipe = recipe_with("face_tracks", INSIGHTFACE, WEIGHTS)
    assert recipe.code_version == f"{CODE_VERSION}+insightface 1"
    assert recipe.inputs["weights"].digest == WEIGHTS.sha256
    other = replace(WEIGHTS, sha256="cd" * 32)
    assert recipe_with("face_tracks", INSIGHTFACE, other).fingerprint != recipe.fingerprint


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        (with_detector(DetectorSettings(insightface_confidence=0.25)), None),
        (with_detector(DetectorSettings(backend="insightface", mediapipe_confidence=0.25)), WEIGHTS),
        (with_detector(DetectorSettings(backend="insightface", weights="elsewhere.onnx")), WEIGHTS),
    ],
)
def test_settings_of_the_other_detector_change_nothing(
    settings: PreprocessingSettings, weights: ResolvedWeights | None
) -> None:
    same = INSIGHTFACE if weights else PreprocessingSettings()
    one, other = (recipe_with("face_tracks", each, weights).fingerprint for each in (settings, same))
    assert one == other


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        (with_detector(DetectorSettings(mediapipe_confidence=0.25)), None),
        (with_detector(DetectorSettings(backend="insightface", insightface_confidence=0.25)), WEIGHTS),
    ],
)
def test_own_confidence_of_a_detector_decides(
    settings: PreprocessingSettings, weights: ResolvedWeights | None
) -> None:
    same = INSIGHTFACE if weights else PreprocessingSettings()
    one, other = (recipe_with("face_tracks", each, weights).fingerprint for each in (settings, same))
    assert one != other


def test_unusable_detectors_are_errors_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"backend mediapipe uses no weights, got weights 'x'$"):
        DetectorSettings(weights="x")
    with pytest.raises(ValueError, match=r"^backend insightface needs insightface_detector_weights"):
        FaceTracker(INSIGHTFACE.face_tracks.tracking)
    with pytest.raises(ValueError, match=r"^face_tracks: the backend needs insightface_detector_weights"):
        recipe_with("face_tracks", INSIGHTFACE, None)
    gone = weights_at(tmp_path / "det_10g.onnx")
    with pytest.raises(FileNotFoundError, match=r"^no weights at .*det_10g\.onnx$"):
        make_face_tracks([], INSIGHTFACE.face_tracks, tmp_path, workers=0, weights=gone)
    assert list(tmp_path.iterdir()) == []


def test_weights_of_steps_are_resolved_and_verified(
    tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDFGC_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("PDFGC_ACCEPT_LICENCES", raising=False)
    with pytest.raises(FileNotFoundError, match=r"^buffalo_l is missing: no det_10g\.onnx in .*--accept-lic"):
        resolve_step_weights(INSIGHTFACE)
    (tmp_path / "buffalo_l").mkdir()
    file = tmp_path / "buffalo_l" / "det_10g.onnx"
    file.write_bytes(network.read_bytes())
    with pytest.raises(ValueError, match=r"^buffalo_l: the licence must be accepted once\. Insi"):
        resolve_step_weights(INSIGHTFACE)
    monkeypatch.setenv("PDFGC_ACCEPT_LICENCES", "buffalo_l")
    with pytest.raises(
        ValueError, match=r"det_10g\.onnx is truncated or not buffalo_l\'s det_10g\.onnx: it has \d+ b"
    ):
        resolve_step_weights(INSIGHTFACE)
    unfit = with_detector(DetectorSettings(backend="insightface", weights="vgg19"))
    with pytest.raises(
        ValueError, match=r"^insightface_detector_weights does not take vgg19; it takes buffalo"
    ):
        resolve_step_weights(unfit)
    row = PRETRAINED["buffalo_l"]
    unknown = replace(row.files[0], size_bytes=None, sha256=None)
    monkeypatch.setitem(PRETRAINED, "buffalo_l", replace(row, files=(unknown, *row.files[1:])))
    weights = resolve_step_weights(INSIGHTFACE)["face_tracks"]
    assert weights.path == file
    assert (weights.setting, weights.weights) == ("insightface_detector_weights", "buffalo_l")


def test_tracker_starts_at_the_faces_of_the_detector(network: Path) -> None:
    tracker = FaceTracker(INSIGHTFACE.face_tracks.tracking, network)
    views = [tracker.step(picture) for picture in face_pictures(3)]
    tracker.close()
    assert [[view.track for view in found] for found in views] == [[0]] * 3
    middle = views[0][0].landmarks_px[:, :2].mean(axis=0)
    assert (abs(middle - 128) < 40).all()  # of 256 px


def test_clips_record_the_detector_of_their_faces(tmp_path: Path, network: Path, video: Path) -> None:
    root, batch, weights = (
        UPath(tmp_path / "root"),
        VideoBatch("b00000", (source_video(video),)),
        weights_at(network),
    )

    def run(step: str, settings: PreprocessingSettings, given: ResolvedWeights | None) -> Path:
        published = run_step(root, step, batch, settings, workers=0, weights=given)
        return local_copy(published.directory)

    tracked = run("face_tracks", INSIGHTFACE, weights)
    assert len(read_candidates(tracked)) == 1
    assert read_labellers(tracked) == {"faces": "insightface 1 weights aaaaaaaa"}
    (record,) = json.loads((tracked / "pretrained_weights.json").read_text())
    assert record["sha256"] == weights.sha256
    assert read_labellers(run("clips", INSIGHTFACE, None)).items() >= read_labellers(tracked).items()
    assert why_stale(root, "face_tracks", batch, INSIGHTFACE, weights) is None
    reason = why_stale(root, "face_tracks", batch, PreprocessingSettings())
    assert reason is not None
    assert 'tracking.detector.backend: "insightface" -> "mediapipe"' in reason
    default = run("face_tracks", PreprocessingSettings(), None)
    assert read_labellers(default) == {}
    assert why_stale(root, "clips", batch, PreprocessingSettings()) == "input face_tracks changed"
    assert "faces" not in read_labellers(run("clips", PreprocessingSettings(), None))


def test_default_detector_does_not_import_onnxruntime() -> None:
    code = (
        "import sys; from preprocessing.faces.video import FaceTrackSettings; "
        "from preprocessing.faces.detectors import DetectorSettings; "
        "settings = DetectorSettings(); settings.selected_backend.open(settings).close(); "
        "print([name for name in ('onnx', 'onnxruntime', 'insightface') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
