"""Whatever a person gives is read, or refused in one line that names it."""

import struct
from fractions import Fraction
from pathlib import Path

import ffmpeg
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image

from evaluation.animation.media import read_pictures, read_sound, read_still
from preprocessing.media.decoding import DecodeSettings, open_video
from preprocessing.media.encoding import write_video
from tests.factories.evaluation.heic import write_heic
from tests.factories.preprocessing.media import Recipe, draw_picture, make_video, read_number, run_ffmpeg


def tone(seconds: float, rate: int) -> NDArray[np.float32]:
    return (0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_read_sound_gives_16_khz_mono_from_the_start(suffix: str, tmp_path: Path) -> None:
    sound = np.zeros(44_100, np.float32)
    sound[22_050:] = tone(0.5, 44_100)
    path = tmp_path / f"speech{suffix}"
    soundfile.write(path, np.stack([sound, sound], axis=1), 44_100)
    read = read_sound(path)
    assert abs(len(read) - 16_000) <= 16_000 * 0.06  # mp3 ends with a whole frame
    onset = int(np.flatnonzero(np.abs(read) > 0.1)[0])
    assert abs(onset - 8_000) <= 80  # 5 ms


def test_sound_of_a_video_is_on_its_pictures_timeline(tmp_path: Path) -> None:
    path = tmp_path / "late.mp4"
    make_video(path, Recipe(seconds=1.4, audio_offset_seconds=0.2))
    sound, recipe = read_sound(path), Recipe(seconds=1.4, audio_offset_seconds=0.2)
    onset = int(np.flatnonzero(np.abs(sound) > 0.1)[0]) / 16_000
    assert onset == pytest.approx(recipe.chirp_times[0], abs=0.01)


def test_deep_greys_are_scaled_to_8_bits(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 64).round(), (48, 1))
    Image.fromarray((257 * ramp).astype(np.uint16)).save(tmp_path / "grey16.png")
    Image.fromarray((ramp / 255).astype(np.float32)).save(tmp_path / "float.tiff")
    for name in ("grey16.png", "float.tiff"):
        still = read_still(tmp_path / name)
        assert still is not None
        np.testing.assert_allclose(still, np.repeat(ramp[..., None], 3, axis=2), atol=1)


def test_dark_16_bit_picture_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 200, np.uint16)).save(tmp_path / "dark.png")
    still = read_still(tmp_path / "dark.png")
    assert still is not None
    assert still.max() <= 1


def test_transparent_background_is_a_plain_grey(tmp_path: Path) -> None:
    picture = np.full((16, 16, 4), (200, 40, 90, 255), np.uint8)
    picture[:, :8] = (255, 0, 255, 0)  # the removed background's colours are still in the file
    Image.fromarray(picture).save(tmp_path / "cut.png")
    still = read_still(tmp_path / "cut.png")
    assert still is not None
    np.testing.assert_array_equal(still[:, :8], np.full((16, 8, 3), 128))
    np.testing.assert_array_equal(still[:, 8:], np.full((16, 8, 3), (200, 40, 90)))


@pytest.mark.parametrize("quarter_turns", [0, 1, 3])
def test_heic_grid_is_read_upright(quarter_turns: int, tmp_path: Path) -> None:
    picture = np.zeros((140, 100, 3), np.uint8)  # of 3 x 2 tiles, the last ones cut
    picture[20:60, 10:40] = (220, 60, 40)
    picture[70:130, 50:100] = (40, 90, 200)
    write_heic(tmp_path / "phone.heic", picture, quarter_turns)
    still = read_still(tmp_path / "phone.heic")
    assert still is not None
    expected = np.rot90(picture, quarter_turns)
    assert still.shape == expected.shape
    assert float(np.abs(still.astype(float) - expected).mean()) < 2.0


def test_damaged_heic_is_refused(tmp_path: Path) -> None:
    write_heic(
        tmp_path / "whole.heic", np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    )
    data = (tmp_path / "whole.heic").read_bytes()
    for name, part in (("cut.heic", data[: len(data) // 2]), ("empty.heic", data[:24] + bytes(64))):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(ValueError, match=rf"{name}: this picture cannot be read"):
            read_still(tmp_path / name)


def test_unusable_sound_is_a_one_line_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(8_000, np.float32), 16_000)
    with pytest.raises(ValueError, match=r"silent\.wav: the sound is silent"):
        read_sound(tmp_path / "silent.wav")
    write_video(tmp_path / "mute.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3, 25)
    with pytest.raises(ValueError, match=r"mute\.mp4: no sound stream"):
        read_sound(tmp_path / "mute.mp4")
    (tmp_path / "text.wav").write_text("#EXTM3U\nother.wav\n")
    with pytest.raises(ValueError, match=r"text\.wav: neither a sound file nor a video"):
        read_sound(tmp_path / "text.wav")
    (tmp_path / "empty.mp3").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.mp3: the file is empty"):
        read_sound(tmp_path / "empty.mp3")
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.wav"):
        read_sound(tmp_path / "none.wav")
    with pytest.raises(ValueError, match=r"text\.wav: its content is in none of"):
        list(read_pictures(tmp_path / "text.wav"))


def test_silent_video_has_the_grid_of_one_with_sound(tmp_path: Path) -> None:
    recipe = Recipe(fps=Fraction(30), seconds=0.8)
    make_video(tmp_path / "sound.mp4", recipe)
    with open_video(tmp_path / "sound.mp4", DecodeSettings()) as decoded:
        with_sound = [(frame.index, read_number(frame.image)) for frame in decoded]
    write_video(tmp_path / "mute.mp4", [draw_picture(number, False) for number in recipe.numbers], 30)
    mute = [(frame.index, read_number(frame.image)) for frame in read_pictures(tmp_path / "mute.mp4")]
    assert mute == with_sound


def test_truncated_still_is_an_error(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"cut\.png: this picture cannot be read"):
        read_still(tmp_path / "cut.png")
    (tmp_path / "text.png").write_text("no picture")
    assert read_still(tmp_path / "text.png") is None


def test_sound_file_out_of_phase_is_read_from_one_channel(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 300 * np.arange(16_000) / 16_000).astype(np.float32) / 2
    soundfile.write(tmp_path / "a.wav", np.stack([tone, -tone], axis=1), 16_000)
    assert read_sound(tmp_path / "a.wav") == pytest.approx(tone, abs=1e-3)


@pytest.mark.parametrize(
    ("rate_hz", "channels", "message"),
    [
        (1, 1, "sound of 1 Hz, need 1000 to 768000 Hz"),
        (400_000_000, 1, "sound of 400000000 Hz, need 1000 to 768000 Hz"),
        (16_000, 17, "sound of 17 channels .* which FFmpeg cannot mix"),
    ],
)
def test_read_sound_refuses_impossible_formats(
    tmp_path: Path, rate_hz: int, channels: int, message: str
) -> None:
    data = bytes(range(256)) * 200
    frame_bytes = 2 * channels
    layout = struct.pack("<IHHIIHH", 16, 1, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 16)
    chunks = b"WAVEfmt " + layout + b"data" + struct.pack("<I", len(data)) + data
    (tmp_path / "sound.wav").write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
    with pytest.raises(ValueError, match=message):
        read_sound(tmp_path / "sound.wav")


def test_silent_video_is_mirrored_as_a_player_does(tmp_path: Path) -> None:
    """The same rules as for videos with sound: a driver is often saved without it."""
    left_dark = np.zeros((64, 96, 3), np.uint8)
    left_dark[:, 48:] = 255
    path = tmp_path / "mute.mp4"
    write_video(path, [left_dark] * 10, 25)
    assert [float(frame.image[:, :40].mean()) < 20 for frame in read_pictures(path)] == [True] * 10
    turned = tmp_path / "turned.mp4"
    source = ffmpeg.input(str(path), display_hflip=None)
    run_ffmpeg(ffmpeg.output(source, str(turned), c="copy"))
    assert [float(frame.image[:, :40].mean()) > 200 for frame in read_pictures(turned)] == [True] * 10
