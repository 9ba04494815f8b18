"""One decode of a video into shots, tracks, candidates and sound; refusals are rows."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from preprocessing.archive import Place, read_members
from preprocessing.faces import video as video_module
from preprocessing.faces.batched import videos as batched
from preprocessing.faces.candidate_tables import (
    CANDIDATES_SCHEMA,
    mark_main_faces,
    read_candidates,
    read_video_facts,
)
from preprocessing.faces.face_tracks import make_face_tracks
from preprocessing.faces.video import FaceTrackSettings
from preprocessing.media.encoding import EncodeSettings, write_video
from tests.factories.preprocessing.media import run_ffmpeg
from tests.factories.preprocessing.videos import face_pictures, to_track, voice, write_face_video

SETTINGS = FaceTrackSettings()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of two shots (40 frames, then 30 of another picture), and three that are refused."""
    folder = tmp_path_factory.mktemp("videos")
    pictures = face_pictures(40) + [
        np.asarray(255 - picture[::-1], np.uint8) for picture in face_pictures(30)
    ]
    sound = np.zeros(70 * 640, np.float32)
    sound[20 * 640] = 0.9  # a click where frame 20 begins
    write_video(folder / "cut.mp4", pictures, 25, sound, 16_000, EncodeSettings(preset="ultrafast"))
    grey = [np.full((128, 128, 3), 90 + number, np.uint8) for number in range(30)]
    write_video(folder / "nobody.mp4", grey, 25, voice(30), 16_000)
    write_face_video(folder / "whole.mp4", 30)
    (folder / "damaged.mp4").write_bytes((folder / "whole.mp4").read_bytes()[:4000])
    (folder / "text.mp4").write_text("not a video")
    return folder


@pytest.fixture(scope="module")
def tracks(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, int | float], dict[str, int]]:
    target = tmp_path_factory.mktemp("face_tracks")
    videos = [to_track(folder / f"{name}.mp4") for name in ("cut", "nobody", "damaged", "text")]
    report = make_face_tracks(videos, SETTINGS, target, workers=0)
    return target, dict(report.counts), dict(report.refusals)


def test_candidates_do_not_cross_a_shot_boundary(
    folder: Path, tracks: tuple[Path, dict[str, int | float], dict[str, int]]
) -> None:
    target, counts, _ = tracks
    name = to_track(folder / "cut.mp4").video_id
    (facts,) = (facts for facts in read_video_facts(target) if facts["video_id"] == name)
    assert (facts["frames"], facts["shots"], facts["seconds"]) == (70, 2, 2.8)
    (row,) = (row for row in read_candidates(target).to_pylist() if row["shot"] == 0)
    assert (row["key"], row["first_frame"], row["frames"]) == (f"{name}-t00-f0000000", 0, 40)
    assert row["main_face"]
    assert counts["candidates"] == sum(
        row["offset_bytes"] >= 0 for row in read_candidates(target).to_pylist()
    )
    place = Place(row["offset_bytes"], row["size_bytes"])
    members = read_members(target / name / "candidates.tar", place)
    assert sorted(members) == [f"{number:03d}.jpg" for number in range(40)] + [
        "landmarks.npy",
        "transforms.npy",
    ]


def test_sound_is_aligned_with_the_pictures(
    folder: Path, tracks: tuple[Path, dict[str, int | float], dict[str, int]]
) -> None:
    path = tracks[0] / to_track(folder / "cut.mp4").video_id / "sound.flac"
    sound, rate_hz = soundfile.read(path)
    assert rate_hz == 16_000
    assert len(sound) >= 70 * 640
    assert abs(int(np.argmax(np.abs(sound))) - 20 * 640) <= 16  # AAC smears a click by under 1 ms


def test_videos_without_candidates_are_refused(
    tracks: tuple[Path, dict[str, int | float], dict[str, int]],
) -> None:
    target, counts, refusals = tracks
    assert refusals["no_face"] == 1
    assert refusals["not_a_video"] == 1
    assert sum(refusals.values()) == 3
    assert counts["videos"] == len(read_video_facts(target)) == 4
    assert all(bool(facts["detail"]) == bool(facts["refused"]) for facts in read_video_facts(target))


def test_videos_read_before_are_not_read_again(
    folder: Path,
    tracks: tuple[Path, dict[str, int | float], dict[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def read_nothing(*_: object) -> None:
        raise AssertionError("a video was read again")

    monkeypatch.setattr(video_module, "_read", read_nothing)
    videos = [to_track(folder / f"{name}.mp4") for name in ("cut", "nobody", "damaged", "text")]
    caplog.set_level("INFO")
    report = make_face_tracks(videos, SETTINGS, tracks[0], workers=0)
    assert (dict(report.counts), dict(report.refusals)) == tracks[1:]
    assert caplog.messages == ["4 of 4 videos were read before"]


def facts_of(target: Path) -> dict[str, tuple[str, str]]:
    """Reason and detail by video id."""
    return {facts["video_id"]: (facts["refused"], facts["detail"]) for facts in read_video_facts(target)}


def test_any_exception_is_the_videos_row(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good, large = (to_track(folder / f"{name}.mp4") for name in ("cut", "nobody", "whole"))
    open_video = video_module.open_video

    def open_some(path: Path, *arguments: Any) -> object:
        if path == bad.path:
            raise IndexError("list index out of range")
        if path == large.path:
            raise MemoryError
        return open_video(path, *arguments)

    monkeypatch.setattr(video_module, "open_video", open_some)
    report = make_face_tracks([bad, good, large], SETTINGS, tmp_path, workers=0)
    assert dict(report.refusals) == {"failed": 1, "no_face": 1, "out_of_memory": 1}
    assert facts_of(tmp_path)[bad.video_id] == ("failed", "IndexError: list index out of range")
    (message,) = (record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert message.startswith(f"Reading {bad.path} failed\nTraceback")
    assert "open_some" in message


def test_full_disk_is_nobodys_row(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(video_module, "_read", fill)
    with pytest.raises(OSError, match="No space left"):
        make_face_tracks([to_track(folder / "cut.mp4")], SETTINGS, tmp_path, workers=0)
    assert read_video_facts(tmp_path) == []


def test_source_that_is_gone_or_another_is_the_videos_row(folder: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.mp4" for name in ("gone", "folder", "changed", "nobody")]
    for path in paths:
        path.write_bytes((folder / "nobody.mp4").read_bytes() + path.name.encode())
    videos = [to_track(path) for path in paths]
    gone, other, changed, _ = paths
    gone.unlink()
    other.unlink()
    other.mkdir()
    status = changed.stat()
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    changed.write_bytes(content)  # of the same size and time: only the content tells
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    make_face_tracks(videos, SETTINGS, tmp_path / "tracks", workers=0)
    sha256 = hashlib.sha256(content).hexdigest()
    reasons = [facts_of(tmp_path / "tracks")[video.video_id] for video in videos]
    assert reasons == [
        ("source_missing", f"{gone} does not exist any more"),
        ("not_a_file", f"{other} is a folder"),
        ("source_changed", f"{changed} has other content: sha256 {sha256[:16]}"),
        ("no_face", "no face in 30 frames"),
    ]


def test_source_changed_while_being_read_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes((folder / "nobody.mp4").read_bytes())
    video = to_track(path)
    open_video = video_module.open_video

    def append_and_open(path: Path, *arguments: Any) -> object:
        path.write_bytes(path.read_bytes() + b"more")
        return open_video(path, *arguments)

    monkeypatch.setattr(video_module, "open_video", append_and_open)
    make_face_tracks([video], SETTINGS, tmp_path / "tracks", workers=0)
    assert facts_of(tmp_path / "tracks") == {
        video.video_id: ("source_changed", f"{path} was changed while being read")
    }


def test_picture_that_changes_its_size_begins_a_shot(tmp_path: Path) -> None:
    """As of a phone that is turned while recording: one stream, two sizes."""
    parts: list[bytes] = []
    for number, size in enumerate(((128, 96), (96, 128))):
        path = tmp_path / f"{number}.mp4"
        write_video(path, [np.full((*size, 3), 90, np.uint8)] * 30, 25, voice(30), 16_000)
        shifted = {"c": "copy", "output_ts_offset": 1.2 * number, "muxdelay": 0}
        run_ffmpeg(ffmpeg.output(ffmpeg.input(str(path)), str(path.with_suffix(".ts")), **shifted))
        parts.append(path.with_suffix(".ts").read_bytes())
    turned = tmp_path / "turned.mpg"
    turned.write_bytes(b"".join(parts))
    make_face_tracks([to_track(turned)], SETTINGS, tmp_path / "tracks", workers=0)
    (facts,) = read_video_facts(tmp_path / "tracks")
    assert (facts["refused"], facts["shots"]) == ("no_face", 2)
    assert facts["frames"] > 50


def die(_: object) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


@pytest.mark.slow
def test_video_that_kills_its_reader_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched, "track_video", die)
    report = make_face_tracks([to_track(folder / "cut.mp4")], SETTINGS, tmp_path, workers=1)
    assert dict(report.refusals) == {"reader_crashed": 1}


def test_partial_folders_are_not_read(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([{"key": "a", "frames": 30}], schema=CANDIDATES_SCHEMA)
    for name in ("aa", "bb.partial-1-0f"):
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "candidates.parquet")
        (tmp_path / name / "video.json").write_text("{}")
    assert len(read_candidates(tmp_path)) == 1
    assert read_video_facts(tmp_path) == [{}]
    assert len(read_candidates(tmp_path / "aa")) == 0


def row(track: int, first_frame: int, frames: int, size_px: float) -> dict[str, int | float]:
    return {"track": track, "first_frame": first_frame, "frames": frames, "face_size_px": size_px}


@pytest.mark.parametrize(
    ("rows", "main"),
    [
        ([row(0, 0, 64, 100), row(1, 0, 64, 120)], [False, True]),  # two at once: the larger
        ([row(0, 0, 64, 100), row(1, 64, 64, 120)], [True, True]),  # in succession
        # Sizes cross within the video; the whole tracks decide, so nobody changes places.
        (
            [row(0, 0, 64, 100), row(0, 64, 64, 130), row(1, 0, 64, 110), row(1, 64, 64, 110)],
            [True, True, False, False],
        ),
        ([row(0, 0, 64, 100), row(0, 64, 64, 100), row(1, 70, 30, 150)], [True, False, True]),
    ],
)
def test_main_face_is_the_largest_track_at_a_time(
    rows: list[dict[str, int | float]], main: list[bool]
) -> None:
    mark_main_faces(rows)
    assert [row["main_face"] for row in rows] == main


@pytest.mark.slow
def test_memory_does_not_grow_with_the_videos_length(tmp_path: Path) -> None:
    """Peak memory for 10 s and for 70 s; the pictures of a second alone are 5 MB."""
    peaks_kib: list[int] = []
    loop = face_pictures(50)
    # Not getrusage: a child's ru_maxrss starts at what its parent holds.
    script = (
        "import sys; from pathlib import Path\n"
        "from preprocessing.faces.face_tracks import make_face_tracks\n"
        "from preprocessing.faces.video import FaceTrackSettings, VideoToTrack\n"
        "video = VideoToTrack(sys.argv[3], Path(sys.argv[1]))\n"
        "make_face_tracks([video], FaceTrackSettings(), Path(sys.argv[2]), workers=0)\n"
        "lines = Path('/proc/self/status').read_text().splitlines()\n"
        "print([line.split()[1] for line in lines if line.startswith('VmHWM')][0])\n"
    )
    for seconds in (10, 70):
        path = tmp_path / f"{seconds}.mp4"
        pictures = (loop[number % 50] for number in range(25 * seconds))
        write_video(path, pictures, 25, voice(25 * seconds), 16_000, EncodeSettings(preset="ultrafast"))
        target = tmp_path / f"tracks{seconds}"
        command = [sys.executable, "-c", script, str(path), str(target), to_track(path).video_id]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks_kib.append(int(done.stdout.split()[-1]))
    assert peaks_kib[1] - peaks_kib[0] < 40 * 1024, peaks_kib
