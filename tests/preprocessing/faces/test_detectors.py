"""The detector of `face_tracks`: chosen by a setting, told in recipes and samples, refused in one line."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from upath import UPath

from pipelines.preprocessing.labeller_weights import labeller_weights
from preprocessing.faces.detectors import DetectorSettings
from preprocessing.faces.face_tracks import CODE_VERSION, FaceTrackSettings, make_face_tracks, read_candidates
from preprocessing.faces.tracking import FaceTracker, TrackingSettings
from preprocessing.labellers.weights import LabellerWeights, read_who_labelled
from preprocessing.orchestration.steps import STEPS, Batch, PreprocessingSettings, run_step, why_stale
from storage.root import local_copy
from tests.factories.backends import weights_at
from tests.factories.scrfd import write_fixed_detector
from tests.factories.videos import face_pictures, source_video, write_face_video
from tests.preprocessing.labellers.test_backend_recipes import FINGERPRINTS, WEIGHTS, recipe_with
from weights.catalog import PRETRAINED

FACE = (100.0, 100.0, 540.0, 560.0)  # of the pictures of `video_makers`, at 640 px


def with_detector(detector: DetectorSettings, mediapipe_confidence: float = 0.5) -> PreprocessingSettings:
    tracking = TrackingSettings(detection_confidence=mediapipe_confidence, detector=detector)
    return PreprocessingSettings(face_tracks=FaceTrackSettings(tracking=tracking))


INSIGHTFACE = with_detector(DetectorSettings(backend="insightface"))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fixed_detector(tmp_path_factory.mktemp("network") / "fixed.onnx", FACE)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "ann.mp4"
    write_face_video(path, 30)
    return path


def test_the_detector_changes_the_recipe_of_face_tracks_alone() -> None:
    wanted = STEPS["face_tracks"].weights(INSIGHTFACE)
    assert wanted is not None
    assert (wanted.told, wanted.setting) == ("buffalo_l", "insightface_detector_weights")
    recipes = {
        name: recipe_with(name, INSIGHTFACE, WEIGHTS if name == "face_tracks" else None) for name in STEPS
    }
    changed = {name for name, recipe in recipes.items() if recipe.fingerprint != FINGERPRINTS[name]}
    assert changed == {"face_tracks"}
    assert recipes["face_tracks"].code_version == f"{CODE_VERSION}+insightface 1"
    assert recipes["face_tracks"].inputs["weights"] == WEIGHTS.sha256
    other = replace(WEIGHTS, sha256="cd" * 32)
    assert recipe_with("face_tracks", INSIGHTFACE, other).fingerprint != recipes["face_tracks"].fingerprint


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        (with_detector(DetectorSettings(insightface_confidence=0.25)), None),
        (with_detector(DetectorSettings(backend="insightface"), mediapipe_confidence=0.25), WEIGHTS),
        (with_detector(DetectorSettings(backend="insightface", weights="elsewhere.onnx")), WEIGHTS),
    ],
)
def test_what_belongs_to_the_other_detector_changes_nothing(
    settings: PreprocessingSettings, weights: LabellerWeights | None
) -> None:
    same = INSIGHTFACE if weights else PreprocessingSettings()
    one, other = (recipe_with("face_tracks", each, weights).fingerprint for each in (settings, same))
    assert one == other


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        (with_detector(DetectorSettings(), mediapipe_confidence=0.25), None),
        (with_detector(DetectorSettings(backend="insightface", insightface_confidence=0.25)), WEIGHTS),
    ],
)
def test_each_detectors_own_confidence_counts(
    settings: PreprocessingSettings, weights: LabellerWeights | None
) -> None:
    same = INSIGHTFACE if weights else PreprocessingSettings()
    one, other = (recipe_with("face_tracks", each, weights).fingerprint for each in (settings, same))
    assert one != other


def test_a_choice_that_does_not_hold_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^face_tracks: weights are 'x', but backend mediapipe runs none$"):
        DetectorSettings(weights="x")
    with pytest.raises(ValueError, match=r"^face_tracks: backend insightface runs outside weights, and none"):
        FaceTracker(INSIGHTFACE.face_tracks.tracking)
    with pytest.raises(ValueError, match=r"^face_tracks: the backend runs buffalo_l as insightface_detec"):
        recipe_with("face_tracks", INSIGHTFACE, None)
    gone = weights_at(tmp_path / "det_10g.onnx")
    with pytest.raises(FileNotFoundError, match=r"^no weights at .*det_10g\.onnx$"):
        make_face_tracks([], INSIGHTFACE.face_tracks, tmp_path, workers=0, weights=gone)
    assert list(tmp_path.iterdir()) == []


def test_weights_are_found_accepted_and_verified_when_a_plan_is_made(
    tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDFGC_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("PDFGC_ACCEPT_LICENCES", raising=False)
    with pytest.raises(FileNotFoundError, match=r"^buffalo_l is missing: no det_10g\.onnx in .*--accept-lic"):
        labeller_weights(INSIGHTFACE)
    (tmp_path / "buffalo_l").mkdir()
    file = tmp_path / "buffalo_l" / "det_10g.onnx"
    file.write_bytes(network.read_bytes())
    with pytest.raises(ValueError, match=r"^buffalo_l: its licence must be accepted by name once\. Insi"):
        labeller_weights(INSIGHTFACE)
    monkeypatch.setenv("PDFGC_ACCEPT_LICENCES", "buffalo_l")
    with pytest.raises(
        ValueError, match=r"det_10g\.onnx is cut short or not buffalo_l\'s det_10g\.onnx: it has \d+ b"
    ):
        labeller_weights(INSIGHTFACE)
    unfit = with_detector(DetectorSettings(backend="insightface", weights="vgg19"))
    with pytest.raises(
        ValueError, match=r"^insightface_detector_weights does not take vgg19; it takes buffalo"
    ):
        labeller_weights(unfit)
    row = PRETRAINED["buffalo_l"]
    unknown = replace(row.files[0], size_bytes=None, sha256=None)
    monkeypatch.setitem(PRETRAINED, "buffalo_l", replace(row, files=(unknown, *row.files[1:])))
    found = labeller_weights(INSIGHTFACE)["face_tracks"]
    assert found.path == file
    (told,) = json.loads(found.record)
    assert (told["setting"], told["licence"]["name"]) == ("insightface_detector_weights", "buffalo_l")


def test_faces_are_followed_from_where_the_detector_finds_them(network: Path) -> None:
    tracker = FaceTracker(INSIGHTFACE.face_tracks.tracking, weights_at(network))
    views = [tracker.step(picture) for picture in face_pictures(3)]
    tracker.close()
    assert [[view.track for view in found] for found in views] == [[0]] * 3
    middle = views[0][0].landmarks_px[:, :2].mean(axis=0)
    assert (abs(middle - 128) < 40).all()  # of 256 px


def test_clips_and_samples_tell_who_found_the_faces(tmp_path: Path, network: Path, video: Path) -> None:
    root, batch, weights = (
        UPath(tmp_path / "root"),
        Batch("b00000", (source_video(video),)),
        weights_at(network),
    )

    def run(step: str, settings: PreprocessingSettings, given: LabellerWeights | None) -> Path:
        made = run_step(root, step, batch, settings, workers=0, progress=lambda _: None, weights=given)
        return local_copy(made.directory)

    tracked = run("face_tracks", INSIGHTFACE, weights)
    assert len(read_candidates(tracked)) == 1
    assert read_who_labelled(tracked) == {"faces": "insightface 1 weights aaaaaaaa"}
    assert (tracked / "pretrained_weights.json").read_text() == weights.record
    assert read_who_labelled(run("clips", INSIGHTFACE, None)) == read_who_labelled(tracked)
    assert why_stale(root, "face_tracks", batch, INSIGHTFACE, weights) is None
    told = why_stale(root, "face_tracks", batch, PreprocessingSettings())
    assert told is not None
    assert 'tracking.detector.backend: "insightface" -> not set' in told
    default = run("face_tracks", PreprocessingSettings(), None)
    assert read_who_labelled(default) == {}
    assert why_stale(root, "clips", batch, PreprocessingSettings()) == "input face_tracks changed"
    assert read_who_labelled(run("clips", PreprocessingSettings(), None)) == {}


def test_onnxruntime_is_loaded_only_where_it_is_chosen() -> None:
    code = (
        "import sys; from preprocessing.faces.face_tracks import FaceTrackSettings; "
        "from preprocessing.faces.detectors import DetectorSettings, open_detector; "
        "open_detector(DetectorSettings(), 0.5, None).close(); "
        "print([name for name in ('onnx', 'onnxruntime', 'insightface') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
