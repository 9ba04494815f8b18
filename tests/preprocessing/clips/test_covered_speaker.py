"""Two people in made videos, of whom the speaker cannot be tracked, from the file to the rows of clips."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocessing.clips.listed import SourceOfClips
from preprocessing.clips.selection import ClipSettings, make_clips
from preprocessing.clips.store import read_clip_table
from preprocessing.faces.candidate_tables import read_candidates
from preprocessing.faces.face_tracks import make_face_tracks
from preprocessing.faces.video import FaceTrackSettings
from preprocessing.media.encoding import EncodeSettings, write_video
from tests.factories.preprocessing.videos import face_pictures, to_track, video_id, voice

FRAMES = 40


@pytest.fixture(scope="module")
def covered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face whose nose and one eye are behind the picture of another person."""
    folder = tmp_path_factory.mktemp("covered")
    pictures = []
    for speaker, listener in zip(
        face_pictures(FRAMES), face_pictures(FRAMES, mirrored=True, start=11), strict=True
    ):
        picture = np.full((360, 480, 3), 90, np.uint8)
        picture[:, :360] = cv2.resize(speaker, (360, 360))
        picture[40:210, 180:350] = cv2.resize(listener, (170, 170))
        pictures.append(picture)
    write_video(folder / "two.mp4", pictures, 25, voice(FRAMES), 16_000, EncodeSettings(preset="ultrafast"))
    make_face_tracks([to_track(folder / "two.mp4")], FaceTrackSettings(), folder, workers=0)
    return folder


def test_covered_face_is_counted_beside_the_other_one(covered: Path) -> None:
    (row,) = read_candidates(covered).to_pylist()
    assert row["frames"] == FRAMES
    assert row["face_size_px"] < 110
    assert row["unread_frames"] >= 0.9 * FRAMES


def test_listener_is_not_kept_with_the_voice_of_the_covered_one(covered: Path, tmp_path: Path) -> None:
    source = SourceOfClips("ann", "two.mp4", (), (0, 0))
    make_clips({video_id(covered / "two.mp4"): source}, covered, "official", ClipSettings(), tmp_path)
    (row,) = read_clip_table(tmp_path).to_pylist()
    assert (row["accepted"], row["reason"]) == (False, "speaker_unsure")
    assert row["score"] == row["speaking_score"] < row["threshold"] == pytest.approx(2.1 / FRAMES**0.5)
