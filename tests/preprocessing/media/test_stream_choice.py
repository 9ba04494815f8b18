"""Which of several streams is read, and what the catalog says about it."""

from pathlib import Path

import ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.media.decoding import DecodeSettings, decode_sound, open_video
from preprocessing.sources.probe import ProbeSettings, probe
from tests.factories.preprocessing.media import AAC, X264, run_ffmpeg


def write(path: Path, volumes: list[float], default: int, **options: object) -> None:
    """Two pictures, dark and bright, and a tone a sound stream: 300 Hz, 600 Hz, at these volumes."""
    pictures = [ffmpeg.input(f"color={colour}:s=64x64:r=25:d=2", f="lavfi") for colour in ("black", "white")]
    sounds = [
        ffmpeg.input(f"sine=frequency={300 * (number + 1)}:d=2", f="lavfi").filter("volume", volume)
        for number, volume in enumerate(volumes)
    ]
    marks = {
        f"disposition:a:{number}": "default" if number == default else 0 for number in range(len(volumes))
    }
    run_ffmpeg(ffmpeg.output(*pictures, *sounds, str(path), **{**X264, **AAC, **marks, **options}))


def read(path: Path) -> tuple[float, NDArray[np.float32]]:
    """Brightness of the pictures, and the sound."""
    blocks: list[NDArray[np.float32]] = []
    with open_video(path, DecodeSettings(), blocks.append) as video:
        images = [frame.image for frame in video]
    return float(np.mean(images)), np.concatenate(blocks)


def pitch_hz(sound: NDArray[np.float32]) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(sound[:16_000]))))


@pytest.mark.parametrize(
    ("volumes", "default", "expected_hz"),
    [
        ([1.0, 1.0], 1, 600),
        ([1.0, 1.0], 0, 300),
        ([0.0, 1.0], 0, 600),
        ([1.0, 0.0], 1, 300),
        ([0.0, 0.0], 1, 0),
    ],
    ids=["default second", "default first", "silent default", "silent second", "both silent"],
)
def test_sound_that_is_default_and_heard_is_read(
    tmp_path: Path, volumes: list[float], default: int, expected_hz: float
) -> None:
    path = tmp_path / "a.mkv"
    write(path, volumes, default)
    assert pitch_hz(read(path)[1]) == pytest.approx(expected_hz, abs=2)
    silent = "silent" if 0.0 in volumes else "default"
    assert silent in probe(path, ProbeSettings()).reading


@pytest.mark.parametrize("default", [0, 1])
def test_picture_that_is_default_is_read(tmp_path: Path, default: int) -> None:
    path = tmp_path / "a.mkv"
    marks = {f"disposition:v:{number}": "default" if number == default else 0 for number in range(2)}
    write(path, [1.0], 0, **marks)
    brightness, _ = read(path)
    assert (brightness > 200) == (default == 1)
    said = probe(path, ProbeSettings()).reading
    assert said == f"reads video {default} default, audio 2 default; not video {1 - default}"


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        (1.0, -1.0, "reads channel 1 of audio 1, whose two are out of phase"),
        (0.5, -0.8, "reads channel 2 of audio 1, whose two are out of phase"),
        (1.0, 1.0, ""),
        (1.0, 0.0, ""),
    ],
    ids=["out of phase", "louder second", "in phase", "one channel"],
)
def test_sound_out_of_phase_is_read_from_one_channel(
    tmp_path: Path, left: float, right: float, said: str
) -> None:
    path = tmp_path / "a.mp4"
    picture = ffmpeg.input("color=black:s=64x64:r=25:d=2", f="lavfi")
    tone = ffmpeg.input(f"aevalsrc={left}*sin(1885*t)/2|{right}*sin(1885*t)/2:s=44100:d=2", f="lavfi")
    run_ffmpeg(ffmpeg.output(picture, tone, str(path), **X264, **AAC))
    expected = abs(left if abs(left) >= abs(right) else right) if said else (left + right) / 2
    for sound in (read(path)[1], decode_sound(path, DecodeSettings())):
        level = float(np.sqrt(np.mean(sound[8_000:24_000] ** 2)))
        assert level == pytest.approx(expected / 2 / np.sqrt(2), rel=0.03)
    assert probe(path, ProbeSettings()).reading == said
