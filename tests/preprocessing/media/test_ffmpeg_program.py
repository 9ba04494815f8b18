"""Which ffmpeg program is found."""

from pathlib import Path

import imageio_ffmpeg
import pytest

from preprocessing.media.ffmpeg_program import find_ffmpeg


def test_path_goes_before_the_carried_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ffmpeg() == str(program)
    program.unlink()
    assert find_ffmpeg() == imageio_ffmpeg.get_ffmpeg_exe()


def test_without_any_program_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_carried() -> str:
        raise RuntimeError("no binary in the wheel")

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none_carried)
    with pytest.raises(FileNotFoundError, match="put one on PATH"):
        find_ffmpeg()
