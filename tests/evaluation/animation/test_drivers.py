"""Faces that drive: the same crops as training gets, on the 25 fps grid."""

import re
from pathlib import Path

import cv2
import ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from evaluation.animation import media
from evaluation.animation.drivers import Aligner, FaceFollower, eyes_and_mouth
from evaluation.animation.media import UnusableInputError
from preprocessing.faces.alignment import AlignmentSettings, crop_transforms
from preprocessing.faces.candidates import CandidateCutter, CandidateSettings
from preprocessing.faces.tracking import FaceTracker, TrackingSettings
from preprocessing.media.decoding import DecodeSettings, open_video
from preprocessing.media.encoding import EncodeSettings, write_video
from tests.factories.preprocessing.media import run_ffmpeg
from tests.factories.preprocessing.videos import face_pictures, voice, write_face_video

FRAMES = 27


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drivers") / "face.mp4"
    write_face_video(path, FRAMES)
    return path


@pytest.fixture(scope="module")
def follower() -> FaceFollower:
    return FaceFollower()


def save(path: Path, image: NDArray[np.uint8]) -> Path:
    Image.fromarray(image).save(path)
    return path


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 80, (height, width, 3)).astype(np.uint8)


def test_aligner_equals_the_alignment_of_a_whole_clip() -> None:
    lot = np.random.default_rng(5)
    still = lot.uniform(100, 400, (1, 478, 3))
    landmarks = (still + lot.normal(0, 6, (9, 1, 3)) + lot.normal(0, 1, (9, 478, 3))).astype(np.float32)
    points = np.stack([eyes_and_mouth(frame) for frame in landmarks])
    aligner = Aligner(points.mean(axis=0))
    stepwise = np.stack([aligner.transform(frame) for frame in points])
    np.testing.assert_allclose(stepwise, crop_transforms(landmarks, AlignmentSettings()), atol=1e-4)


def test_crops_of_a_short_video_equal_training_crops(video: Path, follower: FaceFollower) -> None:
    driver = follower.follow(video)
    assert (driver.frames, driver.frames_without_face, driver.is_still) == (FRAMES, 0, False)
    tracker = FaceTracker(TrackingSettings())
    cutter = CandidateCutter(CandidateSettings(jpeg_quality=100), AlignmentSettings())
    size = (256, 256)
    with open_video(video, DecodeSettings()) as decoded:
        for frame in decoded:
            cutter.add(frame.index, 0, tracker.step(frame.image), size)
    tracker.close()
    (candidate,) = cutter.finish(size)
    for jpeg, crop in zip(candidate.frames_jpeg, driver.crops(FRAMES), strict=True):
        trained = cv2.cvtColor(
            cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
        )
        assert np.abs(trained.astype(int) - crop).mean() < 1.5  # JPEG's own loss


def test_short_driver_holds_its_last_frame(video: Path, follower: FaceFollower) -> None:
    crops = list(follower.follow(video, maximum_frames=6).crops(9))
    assert [crop is crops[5] for crop in crops] == [False] * 5 + [True] * 4


def test_silent_video_gives_the_same_crops(video: Path, follower: FaceFollower, tmp_path: Path) -> None:
    write_video(
        tmp_path / "silent.mp4", face_pictures(6), 25, None, settings=EncodeSettings(preset="ultrafast")
    )
    silent, sounding = follower.follow(tmp_path / "silent.mp4"), follower.follow(video, maximum_frames=6)
    assert silent.frames == 6
    pairs = zip(silent.crops(6), sounding.crops(6), strict=True)
    assert all(np.abs(one.astype(int) - other).mean() < 3 for one, other in pairs)


def test_still_of_any_format_and_rotation_is_a_driver(follower: FaceFollower, tmp_path: Path) -> None:
    (face,) = face_pictures(1)
    upright = next(follower.follow(save(tmp_path / "face.png", face)).crops(1))
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(face)))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    turned.save(tmp_path / "face.jpg", exif=exif, quality=98)
    grey = tmp_path / "face.webp"
    Image.fromarray(face).convert("RGBA").save(grey, lossless=True)
    for path in (tmp_path / "face.jpg", grey):
        driver = follower.follow(path)
        assert driver.is_still
        assert np.abs(next(driver.crops(1)).astype(int) - upright).mean() < 3, path.name


def test_frames_without_a_face_repeat_the_previous_one(follower: FaceFollower, tmp_path: Path) -> None:
    pictures = [noise(256, 256)] * 2 + face_pictures(8) + [noise(256, 256)] * 3
    write_video(tmp_path / "gaps.mp4", pictures, 25, voice(13), settings=EncodeSettings(preset="ultrafast"))
    driver = follower.follow(tmp_path / "gaps.mp4")
    found = [place is not None for place in driver.places]
    assert found[:2] == [False] * 2
    assert found[-3:] == [False] * 3
    crops = list(driver.crops(13))
    first = found.index(True)
    assert all(crop is crops[0] for crop in crops[: first + 1])
    assert all(crop is crops[-1] for crop in crops[-4:])
    assert crops[first + 1] is not crops[first]


def test_unusable_drivers_are_one_line_errors(follower: FaceFollower, tmp_path: Path) -> None:
    nobody = save(tmp_path / "nobody.png", noise(200, 300))
    with pytest.raises(ValueError, match=r"nobody\.png: no face was found in it$"):
        follower.follow(nobody)
    (face,) = face_pictures(1)
    two = save(tmp_path / "two.png", np.concatenate([face, face[:, ::-1]], axis=1))
    with pytest.raises(ValueError, match=r"two\.png: shows two faces of similar size; use one"):
        follower.follow(two)
    dark = save(tmp_path / "dark.png", (face * 0.06).astype(np.uint8))
    with pytest.raises(ValueError, match=r"dark\.png: .*too dark: mean grey level \d+ of 255, need 20$"):
        follower.follow(dark)
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.png"):
        follower.follow(tmp_path / "none.png")


def test_background_faces_are_ignored(follower: FaceFollower, tmp_path: Path) -> None:
    (face,) = face_pictures(1)
    picture = np.zeros((512, 768, 3), np.uint8)
    picture[:, :512] = cv2.resize(face, (512, 512))
    picture[:160, 560:720] = cv2.resize(face[:, ::-1], (160, 160))
    driver = follower.follow(save(tmp_path / "crowd.png", picture))
    alone = follower.follow(save(tmp_path / "alone.png", np.ascontiguousarray(picture[:, :512])))
    assert np.abs(next(driver.crops(1)).astype(int) - next(alone.crops(1))).mean() < 3


def test_any_exception_of_a_driver_names_it(
    video: Path, follower: FaceFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise IndexError("list index\nout of range")

    monkeypatch.setattr(media, "open_video", fail)
    message = re.escape(f"{video}: reading it failed: IndexError: list index out of range")
    with pytest.raises(UnusableInputError, match=f"^{message}$"):
        follower.follow(video)
    with pytest.raises(FileNotFoundError, match="no file"):
        follower.follow(video.parent)


def test_driver_whose_picture_changes_its_size_is_followed(tmp_path: Path, follower: FaceFollower) -> None:
    parts: list[bytes] = []
    for number, pictures in enumerate((face_pictures(10), [picture[:240] for picture in face_pictures(10)])):
        path = tmp_path / f"{number}.mp4"
        write_video(path, pictures, 25, voice(10), 16_000, EncodeSettings(preset="ultrafast"))
        shifted = {"c": "copy", "output_ts_offset": 0.4 * number, "muxdelay": 0}
        run_ffmpeg(ffmpeg.output(ffmpeg.input(str(path)), str(path.with_suffix(".ts")), **shifted))
        parts.append(path.with_suffix(".ts").read_bytes())
    turned = tmp_path / "turned.mpg"
    turned.write_bytes(b"".join(parts))
    driver = follower.follow(turned)
    shots = {place.shot for place in driver.places if place is not None}
    assert shots == {0, 1}
    assert len(list(driver.crops(driver.frames))) == driver.frames
