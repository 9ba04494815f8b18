"""An exception of every item fails the step; one of some items is theirs."""

import hashlib
from pathlib import Path

import pytest

from preprocessing.common_failure import common_failure
from preprocessing.faces import video as video_module
from preprocessing.faces.face_tracks import make_face_tracks
from preprocessing.faces.video import FaceTrackSettings, VideoToTrack
from preprocessing.sources import reading
from preprocessing.sources.scan import ScanSettings, scan


def write_files(folder: Path, count: int) -> list[VideoToTrack]:
    folder.mkdir()
    videos: list[VideoToTrack] = []
    for number in range(count):
        path = folder / f"{number}.mp4"
        path.write_bytes(b"%d" % number)
        videos.append(VideoToTrack(hashlib.sha256(path.read_bytes()).hexdigest()[:16], path))
    return videos


def fail(*_: object) -> None:
    raise ModuleNotFoundError("No module named 'codec'")


def test_common_failure_is_that_of_all_of_eight() -> None:
    assert common_failure(["a"] * 8) == "a"
    for other in (["a"] * 7, ["a"] * 7 + [""], ["a"] * 7 + ["b"], [""] * 8, []):
        assert common_failure(other) == ""


def test_tracking_fails_where_every_video_fails_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_module, "_read", fail)
    videos, folder = write_files(tmp_path / "videos", 8), tmp_path / "tracks"
    folder.mkdir()
    with pytest.raises(RuntimeError, match=r"all 8 videos failed .*No module named 'codec'"):
        make_face_tracks(videos, FaceTrackSettings(), folder, workers=0)
    assert list(folder.iterdir()) == []  # nothing is taken for read when it is run again
    report = make_face_tracks(videos[:7], FaceTrackSettings(), folder, workers=0)
    assert report.refusals == {"failed": 7}


def test_scan_fails_where_every_new_file_fails_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "probe", fail)
    write_files(tmp_path / "videos", 8)
    with pytest.raises(RuntimeError, match=r"all 8 new files failed .*'codec'; nothing was"):
        scan([tmp_path / "videos"], None, ScanSettings(workers=0))
    (tmp_path / "videos" / "0.mp4").unlink()
    table = scan([tmp_path / "videos"], None, ScanSettings(workers=0)).table
    assert table["status"].to_pylist() == ["failed"] * 7
