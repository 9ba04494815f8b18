"""Sound and picture stay together from any source to the 25 fps grid and 16 kHz.

Each video's pictures carry their number, and a chirp sounds with each flash. Measured: how far the time
stamp of the picture at grid place k is from k/25 s, and how far each chirp is from its true time. One
shift common to both (the timeline's zero on the file's clock) is free, and has a test of its own.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest
from av.video.frame import VideoFrame as SourceFrame
from numpy.typing import NDArray

from preprocessing.media.container import RefusedVideo
from preprocessing.media.decoding import DecodeSettings, VideoFrame, decode_sound, open_video
from tests.factories.preprocessing.media import (
    AAC,
    MPEG1,
    MPEG2,
    MPEG4_MP3,
    PCM,
    THEORA_VORBIS,
    VP8_OPUS,
    VP8_VORBIS,
    WINDOWS_MEDIA,
    X264,
    X264_B_FRAMES,
    Recipe,
    chirp,
    make_video,
    read_number,
    run_ffmpeg,
)

SETTINGS = DecodeSettings()
RATES = [Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50), Fraction(60)]
# Half of the pictures of a 50 fps source at random, and none at all for 0.8 s.
IRREGULAR = [
    int(number)
    for number in np.flatnonzero(np.random.default_rng(0).random(150) < 0.5)
    if not 70 <= number <= 110
]

CASES = {
    **{f"mp4 {float(fps):.2f} fps": Recipe(fps=fps) for fps in RATES},
    **{f"mkv {float(fps):.2f} fps": Recipe(".mkv", fps=fps) for fps in RATES},
    **{
        f"mp4 {rate} Hz {channels} channels": Recipe(sample_rate_hz=rate, channels=channels)
        for rate in (8_000, 44_100, 48_000)
        for channels in (1, 2, 6)
    },
    "mp4 B frames": Recipe(codecs={**X264_B_FRAMES, **AAC}),
    "mov pcm": Recipe(".mov", codecs={**X264, **PCM}, sample_rate_hz=44_100),
    "mov 30 fps": Recipe(".mov", fps=Fraction(30)),
    "webm vorbis": Recipe(".webm", codecs=VP8_VORBIS),
    "webm opus 29.97 fps": Recipe(".webm", fps=Fraction(30000, 1001), codecs=VP8_OPUS),
    "avi pcm": Recipe(".avi", codecs={**MPEG4_MP3, **PCM}),
    "avi pcm B frames": Recipe(".avi", codecs={**MPEG4_MP3, "bf": 2, **PCM}),
    "mpg": Recipe(".mpg", codecs=MPEG1, sample_rate_hz=44_100),
    "mpg B frames": Recipe(".mpg", codecs={**MPEG1, "bf": 2}),
    "mts": Recipe(".mts", fps=Fraction(50)),
    "m2ts mpeg2": Recipe(".m2ts", codecs=MPEG2),
    "flv": Recipe(".flv", sample_rate_hz=44_100),
    "3gp": Recipe(".3gp", fps=Fraction(30)),
    "ogv": Recipe(".ogv", codecs=THEORA_VORBIS),
    "wmv": Recipe(".wmv", codecs=WINDOWS_MEDIA),
    "mxf": Recipe(".mxf", codecs={**MPEG2, **PCM}),
    "nut": Recipe(".nut", codecs=MPEG4_MP3),
    "mp4 late sound": Recipe(audio_offset_seconds=0.333),
    "mkv late sound": Recipe(".mkv", audio_offset_seconds=0.333, codecs={**X264, **PCM}),
    "mpg late sound": Recipe(".mpg", audio_offset_seconds=0.333, codecs=MPEG1),
    "mp4 late picture": Recipe(video_offset_seconds=0.345),
    "mp4 late picture 24 fps": Recipe(video_offset_seconds=0.345, fps=Fraction(24)),
    "mkv late picture 60 fps": Recipe(".mkv", video_offset_seconds=0.345, fps=Fraction(60)),
    "webm late picture": Recipe(".webm", video_offset_seconds=0.345, codecs=VP8_OPUS),
    "mp4 irregular": Recipe(fps=Fraction(50), kept=IRREGULAR),
    "mkv irregular": Recipe(".mkv", fps=Fraction(50), kept=IRREGULAR),
    "mkv irregular late picture": Recipe(".mkv", fps=Fraction(50), kept=IRREGULAR, video_offset_seconds=0.1),
    "webm irregular": Recipe(".webm", fps=Fraction(50), kept=IRREGULAR, codecs=VP8_OPUS),
}


@dataclass(frozen=True)
class Decoded:
    frames: list[VideoFrame]
    sound: NDArray[np.float32]
    zero_seconds: float
    first_frame_index: int | None
    damaged_packets: int


def decode(path: Path) -> Decoded:
    blocks: list[NDArray[np.float32]] = []
    with open_video(path, SETTINGS, blocks.append) as video:
        frames = list(video)
        assert video.sound_samples == sum(map(len, blocks))
    return Decoded(
        frames, np.concatenate(blocks), video.zero_seconds, video.first_frame_index, video.damaged_packets
    )


@dataclass(frozen=True)
class Offsets:
    """Errors in milliseconds, after the one shift common to sound and picture."""

    stamp_ms: float  # worst distance of a picture's time stamp from its place
    display_ms: float  # worst distance of a picture's time on the source's screen from its place
    sound_ms: float  # worst distance of a chirp from the chirps' median shift


def measure(decoded: Decoded, recipe: Recipe, skipped_places: int = 0) -> Offsets:
    shifts = chirp_shifts(decoded.sound, recipe.chirp_times)
    shift = float(np.median(shifts))
    numbers = recipe.numbers
    next_number = dict(pairwise(numbers))
    stamps, displays = [0.0], [0.0]
    for frame in decoded.frames[skipped_places:]:
        number = read_number(frame.image)
        place = frame.index / 25 - shift
        start = recipe.time_of(number)
        end = recipe.time_of(next_number[number]) if number in next_number else np.inf
        stamps.append(abs(place - start))
        displays.append(max(start - place, place - end, 0.0))
    return Offsets(1e3 * max(stamps), 1e3 * max(displays), 1e3 * float(np.abs(shifts - shift).max()))


def chirp_shifts(sound: NDArray[np.float32], times: list[float]) -> NDArray[np.float64]:
    """How late each chirp is, in seconds, by correlation with the chirp."""
    correlation = np.maximum(np.correlate(sound, chirp(16_000), "valid"), 0)
    starts = np.round(np.array(times) * 16_000).astype(int)
    common = max(
        range(-9_000, 10_000),
        key=lambda lag: correlation[np.clip(starts + lag, 0, len(correlation) - 1)].sum(),
    )
    windows = [range(max(0, start + common - 800), start + common + 800) for start in starts]
    lags = [window.start + int(np.argmax(correlation[window.start : window.stop])) for window in windows]
    return np.array(lags) / 16_000 - np.array(times)


@pytest.mark.parametrize("name", CASES)
def test_sound_and_picture_stay_within_20_ms(name: str, tmp_path: Path) -> None:
    recipe = CASES[name]
    path = tmp_path / f"é {name}{recipe.suffix}"
    make_video(path, recipe)
    decoded = decode(path)
    offsets = measure(decoded, recipe)
    print(f"{name}: {offsets}")  # noqa: T201 (the values of the documentation; shown with -s)
    # Matroska rounds time stamps to 1 ms; the correlation to one sample.
    assert offsets.display_ms <= 20.1
    assert offsets.sound_ms <= 1.0
    # An mpg has few time stamps; libavformat counts the last pictures one place late.
    if recipe.kept is None and recipe.suffix != ".mpg":
        assert offsets.stamp_ms <= 20.1
    assert decoded.damaged_packets == 0


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(50)])
def test_frame_rates_on_the_grid_have_no_error(tmp_path: Path, fps: Fraction) -> None:
    recipe = Recipe(fps=fps, video_offset_seconds=0.345)
    make_video(tmp_path / "a.mp4", recipe)
    decoded = decode(tmp_path / "a.mp4")
    step = int(fps / 25)
    assert [read_number(frame.image) for frame in decoded.frames] == list(range(0, 75 * step, step))
    assert measure(decoded, recipe).stamp_ms < 0.1


def test_late_picture_starts_late_on_the_grid(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", Recipe(video_offset_seconds=0.345))
    decoded = decode(tmp_path / "a.mp4")
    # 0.345 s is not on the grid: zero goes 15 ms before the sound, the picture to place 9.
    assert decoded.first_frame_index == decoded.frames[0].index == 9
    assert decoded.zero_seconds == pytest.approx(-0.015, abs=1e-4)
    assert [frame.index for frame in decoded.frames] == list(range(9, 84))
    assert len(decoded.sound) >= 84 * 640


def test_late_sound_is_preceded_by_zeros(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mkv", Recipe(".mkv", codecs={**X264, **PCM}, audio_offset_seconds=0.333))
    decoded = decode(tmp_path / "a.mkv")
    assert decoded.frames[0].index == 0
    assert not decoded.sound[: int(0.59 * 16_000)].any()
    np.testing.assert_allclose(chirp_shifts(decoded.sound, Recipe().chirp_times), 0, atol=1e-3)


def test_edit_list_is_applied(tmp_path: Path) -> None:
    recipe = Recipe(codecs={**X264_B_FRAMES, **AAC})
    make_video(tmp_path / "whole.mp4", recipe)
    cut = ffmpeg.input(str(tmp_path / "whole.mp4"), ss=0.5).output(str(tmp_path / "cut.mp4"), c="copy")
    run_ffmpeg(cut)
    assert b"elst" in (tmp_path / "cut.mp4").read_bytes()
    decoded = decode(tmp_path / "cut.mp4")
    # The cut falls between key frames: pictures 0 to 12 are in the file, but must not be displayed.
    assert read_number(decoded.frames[0].image) == 13
    kept = replace(recipe, kept=list(range(13, 75)))
    offsets = measure(decoded, kept)
    assert offsets.stamp_ms <= 20.1
    assert offsets.sound_ms <= 1.0


def test_mp3_in_avi_follows_the_files_timestamps(tmp_path: Path) -> None:
    # AVI cannot mark the first 1105 samples as LAME's priming; ffmpeg's muxer displays the first
    # picture twice as long instead. From the third place on, both agree.
    recipe = Recipe(".avi", codecs=MPEG4_MP3)
    make_video(tmp_path / "a.avi", recipe)
    offsets = measure(decode(tmp_path / "a.avi"), recipe, skipped_places=2)
    assert offsets.stamp_ms <= 20.0
    assert offsets.sound_ms <= 1.0


def test_sound_gaps_are_zeros_and_shift_nothing(tmp_path: Path) -> None:
    recipe = Recipe(".mkv", codecs={**X264, **PCM})
    make_video(tmp_path / "whole.mkv", recipe)
    source = ffmpeg.input(str(tmp_path / "whole.mkv"))
    # Drop the sound's packets between 0.9 and 1.1 s, where there is silence, and between 1.2 and 1.3 s.
    dropped = "noise=drop='between(pts*tb,0.9,1.1)+between(pts*tb,1.2,1.3)'"
    run_ffmpeg(source.output(str(tmp_path / "gap.mkv"), c="copy", **{"bsf:a": dropped}))
    decoded = decode(tmp_path / "gap.mkv")
    assert not decoded.sound[int(1.2 * 16_000) + 1400 : int(1.28 * 16_000)].any()
    np.testing.assert_allclose(chirp_shifts(decoded.sound, [0.6, 1.8, 2.4]), 0, atol=1e-3)


def test_damaged_packets_are_counted_and_skipped(tmp_path: Path) -> None:
    recipe = Recipe(codecs={**X264, **PCM}, suffix=".mov")
    path = tmp_path / "a.mov"
    make_video(path, recipe)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for position, size in packets[30:36]:
        assert position is not None
        content[position : position + size] = bytes([255]) * size
    path.write_bytes(content)
    decoded = decode(path)
    assert 6 <= decoded.damaged_packets <= 12
    assert [frame.index for frame in decoded.frames] == list(range(75))
    assert [read_number(frame.image) for frame in decoded.frames[50:]] == list(range(50, 75))
    np.testing.assert_allclose(chirp_shifts(decoded.sound, recipe.chirp_times), 0, atol=1e-3)


def test_video_without_decodable_pictures_is_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "whole.mkv", Recipe(".mkv"))
    source = ffmpeg.input(str(tmp_path / "whole.mkv"))
    run_ffmpeg(source.output(str(tmp_path / "hurt.mkv"), c="copy", **{"bsf:v": "noise=drop=1"}))
    with pytest.raises(RefusedVideo, match="damaged"):
        decode(tmp_path / "hurt.mkv")


def test_gap_beyond_the_setting_is_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mkv", Recipe(".mkv", kept=[*range(20), *range(60, 75)]))
    with (
        pytest.raises(RefusedVideo, match="a gap of 2 s between two pictures, need at most 1 s"),
        open_video(tmp_path / "a.mkv", DecodeSettings(maximum_gap_seconds=1.0)) as video,
    ):
        list(video)


def test_decode_sound_equals_the_sound_of_open_video(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", Recipe(video_offset_seconds=0.345, sample_rate_hz=44_100))
    sound = decode_sound(tmp_path / "a.mp4", SETTINGS)
    both = decode(tmp_path / "a.mp4").sound
    shared = min(len(sound), len(both))
    assert shared > 3 * 16_000
    np.testing.assert_array_equal(sound[:shared], both[:shared])
    assert not both[shared:].any()


def test_pictures_are_freed_without_the_garbage_collector(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", Recipe())
    gc.collect()
    gc.disable()
    try:
        with open_video(tmp_path / "a.mp4", SETTINGS) as decoded:
            pictures = sum(1 for _ in decoded)
            kept = sum(type(each) is SourceFrame for each in gc.get_objects())
    finally:
        gc.enable()
    assert pictures > 50
    assert 0 < kept < 8


def test_hardware_decoding_falls_back_to_the_cpu(tmp_path: Path) -> None:
    make_video(tmp_path / "video.mp4", Recipe(seconds=1.2))
    pictures = decode(tmp_path / "video.mp4").frames
    with open_video(tmp_path / "video.mp4", DecodeSettings(hardware="auto")) as decoded:
        for expected, frame in zip(pictures, decoded, strict=True):
            # Within rounding of the conversion to RGB where this machine has NVDEC.
            np.testing.assert_allclose(frame.image.astype(int), expected.image, atol=4)


def test_rotation_and_pixel_aspect_are_applied(tmp_path: Path) -> None:
    make_video(tmp_path / "plain.mp4", Recipe(output={"aspect": "2:1"}))
    source = ffmpeg.input(str(tmp_path / "plain.mp4"), display_rotation=90)
    run_ffmpeg(source.output(str(tmp_path / "turned.mp4"), c="copy"))
    upright = decode(tmp_path / "plain.mp4").frames[37].image
    turned = decode(tmp_path / "turned.mp4").frames[37].image
    assert upright.shape == (64, 128, 3)
    np.testing.assert_array_equal(turned, np.rot90(upright))
    assert turned.flags.c_contiguous
    assert not turned.flags.writeable


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"display_hflip": None}, lambda image: image[:, ::-1]),
        ({"display_vflip": None}, lambda image: image[::-1]),
        ({"display_rotation": 90, "display_hflip": None}, lambda image: np.rot90(image)[:, ::-1]),
    ],
    ids=["left and right", "top and bottom", "turned and mirrored"],
)
def test_mirroring_matrix_is_applied(
    tmp_path: Path, options: dict[str, object], shown: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> None:
    make_video(tmp_path / "plain.mp4", Recipe(seconds=1.2, output={"aspect": "2:1"}))
    source = ffmpeg.input(str(tmp_path / "plain.mp4"), **options)
    run_ffmpeg(source.output(str(tmp_path / "mirrored.mp4"), c="copy"))
    plain = decode(tmp_path / "plain.mp4").frames[21].image
    np.testing.assert_array_equal(decode(tmp_path / "mirrored.mp4").frames[21].image, shown(plain))


def test_colour_matrix_and_range_follow_the_file(tmp_path: Path) -> None:
    # The same green, written with two matrices and ranges; read with the wrong one it is 20 off.
    for name, matrix, sample_range in (("a", "bt709", "tv"), ("b", "smpte170m", "pc")):
        source = ffmpeg.input("color=c=0x20C040:s=64x64:r=25:d=1.2", f="lavfi")
        video = source.filter("scale", out_color_matrix=matrix, out_range=sample_range).filter(
            "format", "yuv420p"
        )
        sound = ffmpeg.input("sine=d=1.2", f="lavfi")
        options = {**X264, **AAC, "colorspace": matrix, "color_range": sample_range}
        run_ffmpeg(ffmpeg.output(video, sound, str(tmp_path / f"{name}.mp4"), **options))
        image = decode(tmp_path / f"{name}.mp4").frames[5].image
        np.testing.assert_allclose(image[32, 32], [0x20, 0xC0, 0x40], atol=6)
