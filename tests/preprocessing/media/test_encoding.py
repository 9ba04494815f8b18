"""Writing videos."""

import hashlib
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.media import encoding
from preprocessing.media.decoding import DecodeSettings, open_video
from preprocessing.media.encoding import find_ffmpeg, write_video
from preprocessing.sources.probe import ProbeSettings, probe
from storage.disk import DiskError
from tests.factories.storage.small_disk import small_disk

COLOURS = ((200, 30, 40), (20, 180, 60), (30, 50, 210))


def colour_frames(count: int) -> list[NDArray[np.uint8]]:
    return [np.full((48, 64, 3), COLOURS[index % 3], np.uint8) for index in range(count)]


def test_write_video_keeps_order_and_colours(tmp_path: Path) -> None:
    path = tmp_path / "with space é.mp4"
    write_video(path, colour_frames(30), 25, np.zeros(30 * 640, np.float32))
    with open_video(path, DecodeSettings()) as decoded:
        means = [frame.image.mean((0, 1)) for frame in decoded]
    assert len(means) == 30
    np.testing.assert_allclose(means, [COLOURS[index % 3] for index in range(30)], atol=4)


def test_write_video_is_deterministic(tmp_path: Path) -> None:
    tone = (0.5 * np.sin(np.arange(16_000) / 5)).astype(np.float32)
    digests = set()
    for name in ("first.mp4", "second.mp4"):
        write_video(tmp_path / name, colour_frames(25), 25, tone)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_write_video_keeps_rate_and_stereo(tmp_path: Path) -> None:
    path = tmp_path / "ntsc.mp4"
    write_video(path, colour_frames(60), Fraction(30000, 1001), np.zeros((96_000, 2), np.float32), 48_000)
    facts = probe(path, ProbeSettings())
    assert facts.average_fps == pytest.approx(30000 / 1001, abs=1e-3)
    assert (facts.channels, facts.sample_rate_hz, facts.frame_count) == (2, 48_000, 60)


def test_write_video_reports_ffmpegs_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho 'no space left on device' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(encoding, "find_ffmpeg", lambda: str(program))
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(RuntimeError, match=r"status 3.*no space left on device"):
        write_video(folder / "a.mp4", colour_frames(200), 25)
    assert list(folder.iterdir()) == []


def test_write_video_error_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old content")
    wrong = [*colour_frames(3), np.zeros((50, 64, 3), np.uint8)]
    with pytest.raises(ValueError, match=r"uint8\[50, 64, 3\], need uint8\[48, 64, 3\]"):
        write_video(path, wrong, 25)
    assert path.read_bytes() == b"old content"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("frames", "error"),
    [
        ([], "no frame"),
        ([np.zeros((47, 64, 3), np.uint8)], "64 x 47.*even sides"),
    ],
)
def test_write_video_refuses_bad_frames(tmp_path: Path, frames: list[NDArray[np.uint8]], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        write_video(tmp_path / "a.mp4", frames, 25)


def test_find_ffmpeg_prefers_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ffmpeg() == str(program)
    program.unlink()
    assert find_ffmpeg() == imageio_ffmpeg.get_ffmpeg_exe()


def test_find_ffmpeg_without_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_binary() -> str:
        raise RuntimeError("no binary in the wheel")

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", no_binary)
    with pytest.raises(FileNotFoundError, match="put ffmpeg on PATH"):
        find_ffmpeg()


@pytest.mark.parametrize("free_bytes", [0, 16_384, 200_000])
def test_full_disk_is_an_error_of_the_disk(tmp_path: Path, free_bytes: int) -> None:
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 255, (192, 256, 3), np.uint8) for _ in range(12)]
    with small_disk(tmp_path / "disk", 2) as disk:
        path = disk.path / "video.mp4"
        disk.fill(free_bytes)
        with pytest.raises(DiskError, match=r"video\.mp4: no space left on the disk"):
            write_video(path, frames, 25, np.zeros(12 * 640, np.float32))
        assert [left.name for left in disk.path.iterdir()] == ["filler"]
        disk.clear()
        write_video(path, frames, 25, np.zeros(12 * 640, np.float32))
        assert path.is_file()
