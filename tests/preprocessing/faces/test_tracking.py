"""Face tracking: the logic with a fake, the rest with MediaPipe on pictures of installed packages."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import insightface
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut

from preprocessing.faces.detectors import DetectorSettings
from preprocessing.faces.tflite.detector import FullRangeDetector
from preprocessing.faces.tflite.mesh import FaceFollower
from preprocessing.faces.tracking import FaceTracker, FaceWindow, TrackedFace, TrackingSettings
from tests.preprocessing.faces.test_alignment import centre_of

Picture = NDArray[np.uint8]
FACE_PX = 60
BLACK: Picture = np.zeros((400, 600, 3), np.uint8)


@dataclass
class FakeFaces:
    """Stands in for MediaPipe: each face is a grey square with a level of its own."""

    detections: int = 0
    forgotten: int = 0
    meshes: int = 0

    def detect(self, image: Picture) -> NDArray[np.float32]:
        """Every square, darkest first."""
        self.detections += 1
        boxes = [[*box_of(image, level), 1.0] for level in levels_of(image)]
        return np.asarray(boxes, np.float32).reshape(-1, 5)

    def find(self, image: Picture) -> NDArray[np.float32] | None:
        """Corner to corner over the square that fills most of the window."""
        sizes = {level: int((image[..., 0] == level).sum()) for level in levels_of(image)}
        if not sizes:
            return None
        left, top, right, bottom = box_of(image, max(sizes, key=lambda level: sizes[level]))
        landmarks = np.zeros((478, 3), np.float32)
        landmarks[:, 0], landmarks[:, 1] = np.linspace(left, right, 478), np.linspace(top, bottom, 478)
        return landmarks


def levels_of(image: Picture) -> list[int]:
    return [int(level) for level in np.unique(image) if level > 0]


def box_of(image: Picture, level: int) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(image[..., 0] == level)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def picture_of(*faces: tuple[int, int, int]) -> Picture:
    """Faces: (left, top, grey level)."""
    picture = BLACK.copy()
    for left, top, level in faces:
        picture[top : top + FACE_PX, left : left + FACE_PX] = level
    return picture


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeFaces:
    """The mesh and the detector, with the fake inside."""
    faces = FakeFaces()

    def fake_init_mesh(_: FaceFollower, *, minimum_confidence: float) -> None:
        assert minimum_confidence == 0.5
        faces.meshes += 1

    def fake_forget(_: FaceFollower) -> None:
        faces.forgotten += 1

    monkeypatch.setattr(FaceFollower, "__init__", fake_init_mesh)
    monkeypatch.setattr(FaceFollower, "find", lambda _, image: faces.find(image))
    monkeypatch.setattr(FaceFollower, "forget", fake_forget)
    monkeypatch.setattr(FullRangeDetector, "__init__", lambda *_: None)
    monkeypatch.setattr(FullRangeDetector, "find", lambda _, image: faces.detect(image))
    return faces


def tracks(views: list[TrackedFace]) -> list[int]:
    return sorted(view.track for view in views)


def test_every_face_has_its_own_track(fake: FakeFaces) -> None:
    tracker = FaceTracker(TrackingSettings())
    for step in range(30):
        views = tracker.step(picture_of((100 + step, 100, 80), (400 - step, 250, 200)))
        assert tracks(views) == [0, 1]
        for view in views:
            left = (100 + step, 400 - step)[view.track]
            np.testing.assert_allclose(view.landmarks_px[0, 0], left, atol=0.51)
            shown = view.window_transform @ [*view.landmarks_px[239, :2], 1.0]
            assert view.window[round(shown[1]), round(shown[0]), 0] == (80, 200)[view.track]
    assert fake.meshes == 2


def test_new_face_starts_and_lost_face_ends_a_track(fake: FakeFaces) -> None:
    tracker = FaceTracker(TrackingSettings(detect_every_frames=5))
    seen = [tracks(tracker.step(picture_of((100, 100, 80)))) for _ in range(2)]
    seen += [tracks(tracker.step(picture_of((100, 100, 80), (400, 200, 200)))) for _ in range(6)]
    assert seen == [[0]] * 5 + [[0, 1]] * 3  # detections at frames 0 and 5
    assert tracks(tracker.step(picture_of((400, 200, 200)))) == [1]
    assert fake.forgotten == 1
    # The face returns: it gets a new track, with the idle mesh.
    detections = fake.detections
    assert tracks(tracker.step(picture_of((400, 200, 200), (100, 100, 80)))) == [1, 2]
    assert fake.detections == detections + 1  # at once, because a face was lost
    assert fake.meshes == 2


def test_detections_become_rarer_without_new_faces(fake: FakeFaces) -> None:
    tracker = FaceTracker(TrackingSettings(detect_every_frames=2, detect_every_steady_frames=4))
    alone, both = picture_of((100, 100, 80)), picture_of((100, 100, 80), (400, 200, 200))
    detections: list[int] = []
    for index in range(16):
        before = fake.detections
        views = tracker.step(alone if index < 8 else both)
        assert tracks(views) == ([0] if index < 10 else [0, 1])
        detections += [index] * (fake.detections - before)
    assert detections == [0, 2, 6, 10, 12]  # soon after a new face, then at 16
    tracker.begin_shot()
    tracker.step(both)
    assert fake.detections == len(detections) + 1


def test_unconfirmed_faces_are_not_detected_every_frame(
    fake: FakeFaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FaceFollower, "find", lambda *_: None)
    tracker = FaceTracker(TrackingSettings())
    for _ in range(26):
        assert tracker.step(picture_of((100, 100, 50))) == []
    assert fake.detections == 6  # frames 0, 5, 10, 15, 20, 25


def test_maximum_faces_bounds_the_tracks(fake: FakeFaces) -> None:
    tracker = FaceTracker(TrackingSettings(maximum_faces=2))
    picture = picture_of((50, 100, 80), (250, 100, 120), (450, 100, 200))
    assert tracks(tracker.step(picture)) == [0, 1]
    assert fake.meshes == 2


@pytest.mark.parametrize("maximum_faces", [1, 4])
def test_face_that_is_not_tracked_is_noted(
    maximum_faces: int, fake: FakeFaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many, or one that the mesh cannot read."""

    def find(_: FaceFollower, image: Picture) -> NDArray[np.float32] | None:
        is_covered = maximum_faces > 1 and (image[..., 0] == 200).any()
        return None if is_covered else fake.find(image)

    monkeypatch.setattr(FaceFollower, "find", find)
    tracker = FaceTracker(TrackingSettings(maximum_faces=maximum_faces, detect_every_frames=5))
    both = picture_of((100, 100, 80), (400, 200, 200))
    seen: list[float] = []
    for index in range(20):
        assert tracks(tracker.step(both if index < 10 else picture_of((100, 100, 80)))) == [0]
        seen.append(tracker.unread_face_px)
    assert seen == pytest.approx([59 * 1.25] * 10 + [0.0] * 10)  # until the next detection
    tracker.step(both)
    tracker.begin_shot()
    assert tracker.unread_face_px == 0.0


@pytest.mark.usefixtures("fake")
def test_mesh_that_begins_on_another_face_leaves_one_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector sees two faces; the mesh finds the second one in the windows of both."""
    boxes = np.array([[170, 100, 230, 160, 1.0], [80, 100, 160, 180, 1.0]], np.float32)
    monkeypatch.setattr(FullRangeDetector, "find", lambda *_: boxes)

    def find(_: FaceFollower, image: Picture) -> NDArray[np.float32]:
        left, top = box_of(image, 80)[:2]
        side = np.linspace(0, FACE_PX - 1, 478)
        return np.stack([left + side, top + side, np.zeros(478)], axis=1).astype(np.float32)

    monkeypatch.setattr(FaceFollower, "find", find)
    tracker = FaceTracker(TrackingSettings())
    assert tracks(tracker.step(picture_of((170, 100, 80)))) == [0]
    assert tracker.unread_face_px == pytest.approx(80 * 1.25)


def test_small_face_is_found_beside_a_large_one(tracker: FaceTracker) -> None:
    """Of 70 px beside one of 240, in a picture of 1440 x 540."""
    large = np.asarray(cv2.resize(astronaut()[0:240, 110:350], (540, 540)), np.uint8)
    small = np.asarray(cv2.resize(astronaut()[0:240, 110:350], (150, 150)), np.uint8)
    picture = np.full((540, 1440, 3), 128, np.uint8)
    picture[:, :540] = large
    picture[200:350, 1200:1350] = small
    (first, *_, last) = follow(tracker, [picture] * 3)
    sizes = sorted(float(np.ptp(each[:, :2], axis=0).max()) for each in first.values())
    assert len(sizes) == 2
    assert 64 < sizes[0] < 75
    assert 230 < sizes[1] < 260
    assert first.keys() == last.keys()


def test_new_shot_and_new_video_end_tracks(fake: FakeFaces) -> None:
    tracker = FaceTracker(TrackingSettings())
    picture = picture_of((100, 100, 80))
    assert tracks(tracker.step(picture)) == [0]
    tracker.begin_shot()
    assert tracks(tracker.step(picture)) == [1]
    tracker.begin_video()
    assert tracks(tracker.step(picture)) == [0]
    assert (fake.meshes, fake.forgotten) == (1, 2)


@pytest.mark.usefixtures("fake")
def test_newer_track_on_the_same_face_ends() -> None:
    tracker = FaceTracker(TrackingSettings())
    assert tracks(tracker.step(picture_of((100, 100, 80), (200, 100, 200)))) == [0, 1]
    # One square is gone, the other stands between the two windows: both meshes find it.
    assert tracks(tracker.step(picture_of((150, 100, 80)))) == [0]


@pytest.mark.usefixtures("fake")
def test_window_is_a_bounded_copy() -> None:
    small = FaceTracker(TrackingSettings()).step(picture_of((100, 100, 80)))[0].window
    assert small.base is None
    assert small.shape == (162, 162, 3)  # 59 px between the corners x 1.25 x 2.2
    bounded = TrackingSettings(memory_mebibytes=32)
    assert bounded.bounded_window_side_px() == 147  # 4 faces x 128 windows of 3 x 147^2 bytes in 32 MiB
    view = FaceTracker(bounded).step(picture_of((100, 100, 80)))[0]
    assert view.window.shape == (147, 147, 3)
    np.testing.assert_allclose(view.landmarks_px[[0, -1], :2], [[100, 100], [159, 159]], atol=1.0)


@pytest.mark.parametrize("side_px", [200, 384, 500, 800, 1900])
def test_window_transform_matches_its_picture(side_px: int) -> None:
    image = np.zeros((1200, 1600, 3), np.uint8)
    cv2.circle(image, (701, 503), 12, (255, 255, 255), -1, cv2.LINE_AA)
    window = FaceWindow(np.array([640.3, 555.8]), float(side_px))
    picture, transform = window.cut(image, 384)
    assert picture.shape == (min(side_px, 384), min(side_px, 384), 3)
    np.testing.assert_allclose(centre_of(picture[..., 0]), transform @ [701.0, 503.0, 1.0], atol=0.1)


def test_window_outside_the_frame_is_black() -> None:
    image = np.full((100, 100, 3), 255, np.uint8)
    picture, transform = FaceWindow(np.array([0.0, 50.0]), 64.0).cut(image, 384)
    assert transform.tolist() == [[1.0, 0.0, 32.0], [0.0, 1.0, -18.0]]
    assert (picture[:, :32] == 0).all()
    assert (picture[:, 32:] == 255).all()
    nowhere, _ = FaceWindow(np.array([-500.0, 50.0]), 64.0).cut(image, 384)
    assert not nowhere.any()


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"detect_every_frames": 0}, "detect_every_frames must be >= 1, got 0"),
        (
            {"detect_every_frames": 51},
            "must be >= detect_every_frames, 51, got 50",
        ),
        ({"maximum_faces": 0}, "maximum_faces must be >= 1, got 0"),
        ({"memory_mebibytes": 16, "maximum_faces": 16}, "allows windows of only 52 px for 16 faces"),
    ],
)
def test_tracking_settings_refuse_values_out_of_range(values: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        TrackingSettings(**values)


@pytest.fixture(scope="module")
def group() -> Picture:
    """The group photo that insightface carries: six people."""
    path = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)


@pytest.fixture(scope="module")
def tracker() -> Iterator[FaceTracker]:
    tracker = FaceTracker(TrackingSettings(detect_every_frames=4))
    yield tracker
    tracker.close()


def follow(tracker: FaceTracker, pictures: list[Picture]) -> list[dict[int, NDArray[np.float32]]]:
    tracker.begin_video()
    return [{view.track: view.landmarks_px for view in tracker.step(picture)} for picture in pictures]


def drifting(picture: Picture, frames: int) -> list[Picture]:
    height, width = picture.shape[:2]
    maps = (np.array([[1.0, 0.0, 2.0 * step], [0.0, 1.0, step]]) for step in range(frames))
    return [np.asarray(cv2.warpAffine(picture, each, (width, height)), np.uint8) for each in maps]


def test_real_faces_are_tracked_from_the_first_frame(tracker: FaceTracker, group: Picture) -> None:
    followed = follow(tracker, drifting(group, 5))
    assert len(followed[0]) >= 3
    assert followed[0].keys() == followed[-1].keys()
    for track, landmarks in followed[0].items():
        moved = (followed[4][track] - landmarks)[:, :2].mean(axis=0)
        np.testing.assert_allclose(moved, [8.0, 4.0], atol=1.0)
    middles = [landmarks[:, :2].mean(axis=0) for landmarks in followed[0].values()]
    apart = [np.linalg.norm(first - second) for first, second in combinations(middles, 2)]
    assert min(apart) > 50


def test_real_faces_enter_and_leave(tracker: FaceTracker) -> None:
    face: Picture = astronaut()[:300, 80:380]
    blank = np.full_like(face, 128)
    alone = np.concatenate([face, blank], axis=1)
    both = np.concatenate([face, face[:, ::-1]], axis=1)
    other = np.concatenate([blank, face[:, ::-1]], axis=1)
    followed = follow(tracker, [alone] * 2 + [both] * 4 + [other] * 2)
    assert [sorted(views) for views in followed] == [[0]] * 4 + [[0, 1]] * 2 + [[1]] * 2
    assert followed[5][1][:, 0].min() > 300


def test_landmarks_do_not_depend_on_earlier_videos(tracker: FaceTracker, group: Picture) -> None:
    video = drifting(astronaut(), 6)
    first = follow(tracker, video)
    follow(tracker, drifting(group, 3))
    again = follow(tracker, video)
    fresh_tracker = FaceTracker(TrackingSettings(detect_every_frames=4))
    fresh = follow(fresh_tracker, video)
    fresh_tracker.close()
    assert [sorted(views) for views in first] == [[0]] * 6
    for faces, repeated, other in zip(first, again, fresh, strict=True):
        np.testing.assert_array_equal(faces[0], repeated[0])
        np.testing.assert_array_equal(faces[0], other[0])


def test_mediapipes_graphs_are_selectable() -> None:
    graphs = TrackingSettings(mesh="mediapipe_graph", detector=DetectorSettings(backend="mediapipe_graph"))
    trackers = [FaceTracker(graphs), FaceTracker(TrackingSettings())]
    (expected,), (face,) = (tracker.step(astronaut()) for tracker in trackers)
    assert not np.array_equal(face.landmarks_px, expected.landmarks_px)
    np.testing.assert_allclose(face.landmarks_px, expected.landmarks_px, atol=0.3)
    for tracker in trackers:
        tracker.close()
