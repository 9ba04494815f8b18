"""The backend face_landmarker with the published model: rendered heads of known truth, and real clips."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from demo_corpus.expression import Controls, FaceRig
from demo_corpus.people import build_person, draw_person
from demo_corpus.portraits import BUNDLED
from demo_corpus.rendering.camera import HEAD_REST_CM, Camera
from demo_corpus.rendering.render import place, render_frame
from demo_corpus.truth import apparent_pose, pose_in_crop
from evaluation.readings.blendshapes import BlendshapeReader
from preprocessing.clips.store import read_clips
from preprocessing.faces.shape.frame_of_reference import (
    CROP_FOCAL_PX,
    REFERENCE_DISTANCE_CM,
    rotation_from_angles,
)
from preprocessing.labellers.face_landmarker import BLENDSHAPES, FaceLandmarker, FaceLandmarks
from preprocessing.labels.tables import BLINK_NAMES, POSE_NAMES, read_labels
from preprocessing.media.jpeg import decode_jpeg
from preprocessing.orchestration.step import SourceVideo, VideoBatch
from preprocessing.orchestration.steps import PreprocessingSettings, run_step
from storage.root import local_copy, open_root
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.real
CAMERA = Camera(384)
NAME = "face_landmarker_v2_with_blendshapes.task"


@pytest.fixture(scope="module")
def model() -> Path:
    path = (REPOSITORY.parent / "shared/models" / NAME).resolve()
    if not path.is_file():
        pytest.skip(f"no model: ../shared/models/{NAME} is not beside the repository")
    return path


@pytest.fixture(scope="module")
def landmarker(model: Path) -> Iterator[FaceLandmarker]:
    with FaceLandmarker(model) as made:
        yield made


@pytest.fixture(scope="module")
def rig() -> FaceRig:
    return build_person(draw_person(5, 0, BUNDLED), BUNDLED)


def crop_transform() -> NDArray[np.float64]:
    """[2, 3] of the camera's pixels: the head at rest in the crop's middle, in its natural size."""
    px_per_cm = CAMERA.focal_px / (REFERENCE_DISTANCE_CM - HEAD_REST_CM[2])
    scale = CROP_FOCAL_PX / REFERENCE_DISTANCE_CM / px_per_cm
    return np.hstack([np.eye(2) * scale, (112.0 - scale * CAMERA.project(HEAD_REST_CM))[:, None]])


def crop_of(
    rig: FaceRig, controls: Controls, angles: NDArray[np.float64], gaze: NDArray[np.float64]
) -> NDArray[np.uint8]:
    picture = render_frame(rig, controls, place(angles, HEAD_REST_CM), gaze, CAMERA)
    return np.asarray(cv2.warpAffine(picture, crop_transform(), (224, 224)), np.uint8)


def looked_at(
    landmarker: FaceLandmarker, rig: FaceRig, *controls: Controls, gaze: tuple[float, float] = (0.0, 0.0)
) -> FaceLandmarks:
    return landmarker.label(crop_of(rig, one, np.zeros(3), np.array(gaze)) for one in controls)


def score(labels: FaceLandmarks, name: str) -> NDArray[np.float32]:
    return labels.blendshapes[:, BLENDSHAPES.index(name)]


def test_a_turned_head_is_told_with_the_right_signs_and_most_of_its_turn(
    landmarker: FaceLandmarker, rig: FaceRig
) -> None:
    poses, true = [], []
    for axis in range(3):
        for angle in (-0.25, 0.25):
            angles = np.zeros(3)
            angles[axis] = angle
            poses.append(landmarker.label([crop_of(rig, Controls(), angles, np.zeros(2))]).pose[0])
            pose = apparent_pose(rotation_from_angles(angles), HEAD_REST_CM)[None]
            true.append(pose_in_crop(pose, crop_transform()[None], CAMERA)[0])
    made, truth = np.array(poses), np.array(true)
    for axis in range(3):
        share = np.diff(made[2 * axis : 2 * axis + 2, axis]) / np.diff(truth[2 * axis : 2 * axis + 2, axis])
        assert 0.7 < float(share[0]) < 1.1, (axis, share)
    assert np.degrees(np.abs(made - truth)[:, :3]).max() < 6.0
    assert np.abs(made - truth)[:, 3:5].max() < 0.5
    assert np.abs(made - truth)[:, 5].max() < 8.0


def test_blendshapes_tell_what_the_face_does_and_on_which_side(
    landmarker: FaceLandmarker, rig: FaceRig
) -> None:
    mouth, smile, left, right = 1, 2, 3, 4
    labels = looked_at(
        landmarker,
        rig,
        Controls(),
        Controls(mouth_opening_cm=1.5),
        Controls(smile=1.0),
        Controls(blink_left=1.0),
        Controls(blink_right=1.0),
    )
    assert labels.found.all()
    assert labels.blendshapes.min() >= 0.0
    assert labels.blendshapes.max() <= 1.0
    jaw, smiles = score(labels, "jawOpen"), score(labels, "mouthSmileLeft") + score(labels, "mouthSmileRight")
    # By their order, not their size: on a rendered head most scores stay near 0.
    assert jaw.argmax() == mouth
    assert smiles.argmax() == smile
    # Image-left is the person's right.
    assert score(labels, "eyeBlinkRight").argmax() == left
    assert score(labels, "eyeBlinkLeft").argmax() == right
    to_image_right = looked_at(landmarker, rig, Controls(), gaze=(0.0, 0.4))
    to_image_left = looked_at(landmarker, rig, Controls(), gaze=(0.0, -0.4))
    assert score(to_image_right, "eyeLookOutLeft") > score(to_image_left, "eyeLookOutLeft") + 0.1


def test_the_evaluation_reads_the_same_off_videos_of_any_side(model: Path, rig: FaceRig) -> None:
    expressions = (Controls(), Controls(mouth_opening_cm=1.5), Controls(smile=1.0), Controls(brow_raise=1.0))
    crops = [crop_of(rig, one, np.zeros(3), np.zeros(2)) for one in expressions]
    small = [np.asarray(cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA), np.uint8) for crop in crops]
    with BlendshapeReader(model) as reader, FaceLandmarker(model) as landmarker:
        read, read_small = reader.read(crops), reader.read(small)
        np.testing.assert_array_equal(read.blendshapes, landmarker.label(crops).blendshapes)
    for shown in (read, read_small):
        assert shown.found.all()
        assert shown.measure("blendshape_jaw_open").argmax() == 1
        assert shown.measure("blendshape_smile").argmax() == 2
        assert shown.measure("blendshape_brow_raise").argmax() == 3


def test_a_picture_without_a_face_is_told_as_such_and_disturbs_nobody(
    landmarker: FaceLandmarker, rig: FaceRig
) -> None:
    crop = crop_of(rig, Controls(), np.zeros(3), np.zeros(2))
    alone = landmarker.label([crop])
    among = landmarker.label([np.full((224, 224, 3), 90, np.uint8), crop])
    assert among.found.tolist() == [False, True]
    assert np.isnan(among.pose[0]).all()
    assert np.isnan(among.blendshapes[0]).all()
    np.testing.assert_array_equal(among.pose[1], alone.pose[0])
    np.testing.assert_array_equal(among.blendshapes[1], alone.blendshapes[0])
    assert landmarker.label([]).pose.shape == (0, 6)
    with pytest.raises(ValueError, match=r"a crop is \[64, 64, 3\], need \[224, 224, 3\]"):
        landmarker.label([np.zeros((64, 64, 3), np.uint8)])


def test_a_model_cut_short_or_of_another_kind_is_one_line(model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    wrong = tmp_path / "wrong.task"
    wrong.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"wrong\.task is not a MediaPipe task file, or is cut short"):
        FaceLandmarker(wrong)
    middle = len(whole) // 2
    wrong.write_bytes(whole[:middle] + bytes(200_000) + whole[middle + 200_000 :])
    with pytest.raises(
        ValueError, match=r"^.*wrong\.task is not a FaceLandmarker task file \([^\n]*\); run `pdfgc[^\n]*$"
    ):
        FaceLandmarker(wrong)


@pytest.mark.slow
def test_it_agrees_with_the_default_labels_on_real_clips(
    shared_clips: Path, landmarker: FaceLandmarker, tmp_path: Path
) -> None:
    path = min((shared_clips / "videos" / "person-b").iterdir())
    video_id = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    batch = VideoBatch("batch-0000", (SourceVideo(video_id, path, path.name, "person-b"),))
    root = open_root(str(tmp_path))
    published = {
        name: run_step(root, name, batch, PreprocessingSettings(), workers=0)
        for name in ("face_tracks", "clips", "pose_labels", "gaze_labels")
    }
    folders = {name: local_copy(made.directory) for name, made in published.items()}
    poses, blinks = (
        read_labels(folders["pose_labels"], POSE_NAMES),
        read_labels(folders["gaze_labels"], BLINK_NAMES),
    )
    apart, eyes = [], []
    for clip in read_clips(folders["clips"]):
        frames = slice(None, None, 5)
        landmarks = landmarker.label(map(decode_jpeg, clip.frames_jpeg[frames]))
        assert landmarks.found.all(), clip.key
        apart.append(np.abs(landmarks.pose - poses[clip.key][frames]))
        columns = [BLENDSHAPES.index(name) for name in ("eyeBlinkRight", "eyeBlinkLeft")]
        shut = landmarks.blendshapes[:, columns].T
        eyes.append(np.stack([shut[0] + shut[1], blinks[clip.key][frames].sum(axis=1)]))
    median = np.median(np.concatenate(apart), axis=0)
    assert (np.degrees(median[:3]) < (4.0, 2.5, 1.0)).all(), np.degrees(median[:3])
    assert (median[3:5] < 0.3).all(), median
    assert np.corrcoef(np.concatenate(eyes, axis=1))[0, 1] > 0.7
