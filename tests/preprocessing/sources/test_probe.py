"""Facts of videos, and every reason to refuse one, with files broken here."""

import hashlib
import os
import pickle
import random
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import ffmpeg
import pytest

from preprocessing.media.container import RefusedVideo
from preprocessing.media.decoding import DecodeSettings, open_video
from preprocessing.media.limits import MediaLimits
from preprocessing.sources.probe import ProbeSettings, probe
from tests.factories.preprocessing.media import (
    AAC,
    MPEG1,
    MPEG4_MP3,
    PCM,
    VP8_OPUS,
    X264,
    Recipe,
    make_video,
    run_ffmpeg,
)

SETTINGS = ProbeSettings()


def reason_of(path: Path, settings: ProbeSettings = SETTINGS) -> str:
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(RefusedVideo) as caught:
        probe(path, settings)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert caught.value.detail
    return caught.value.reason


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole videos of three seconds, one for each container."""
    folder = tmp_path_factory.mktemp("sources")
    make_video(folder / "late.mp4", Recipe())
    make_video(folder / "fast.mp4", Recipe(output={"movflags": "+faststart"}))
    make_video(folder / "a.mov", Recipe(codecs={**X264, **PCM}))
    make_video(folder / "a.mkv", Recipe(".mkv"))
    make_video(folder / "a.webm", Recipe(".webm", codecs=VP8_OPUS))
    make_video(folder / "a.avi", Recipe(".avi", codecs=MPEG4_MP3))
    make_video(folder / "a.mpg", Recipe(".mpg", codecs=MPEG1))
    return folder


@pytest.mark.parametrize(
    ("name", "video_codec", "audio_codec"),
    [
        ("late.mp4", "h264", "aac"),
        ("a.mov", "h264", "pcm_s16le"),
        ("a.mkv", "h264", "aac"),
        ("a.webm", "vp8", "opus"),
        ("a.avi", "mpeg4", "mp3float"),
        ("a.mpg", "mpeg1video", "mp2float"),
    ],
)
def test_probe_accepts_complete_videos(sources: Path, name: str, video_codec: str, audio_codec: str) -> None:
    facts = probe(sources / name, SETTINGS)
    assert facts.video_codec == video_codec
    assert facts.audio_codec in (audio_codec, audio_codec.removesuffix("float"))
    assert facts.duration_seconds == pytest.approx(3.0, abs=0.1)
    assert (facts.width_px, facts.height_px, facts.sample_rate_hz, facts.channels) == (64, 64, 48_000, 2)


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(30000, 1001), Fraction(60)])
def test_probe_measures_constant_frame_rates(tmp_path: Path, fps: Fraction) -> None:
    make_video(tmp_path / "a.mp4", Recipe(fps=fps))
    facts = probe(tmp_path / "a.mp4", SETTINGS)
    assert facts.average_fps == pytest.approx(float(fps), abs=1e-3)
    assert not facts.variable_rate


def test_probe_detects_a_variable_frame_rate(tmp_path: Path) -> None:
    kept = [number for number in range(75) if number % 5 not in (1, 2)]
    make_video(tmp_path / "a.mkv", Recipe(".mkv", kept=kept))
    facts = probe(tmp_path / "a.mkv", SETTINGS)
    assert (facts.frame_count, facts.variable_rate) == (len(kept), True)


def test_probe_reads_stream_starts(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mkv", Recipe(".mkv", codecs={**X264, **PCM}, audio_offset_seconds=0.333))
    facts = probe(tmp_path / "a.mkv", SETTINGS)
    assert (facts.video_start_seconds, facts.audio_start_seconds) == (0.0, 0.333)
    assert facts.duration_seconds == pytest.approx(3.333, abs=0.01)


def test_probe_gives_the_displayed_size(tmp_path: Path) -> None:
    make_video(tmp_path / "plain.mp4", Recipe(output={"aspect": "2:1"}))
    run_ffmpeg(
        ffmpeg.input(str(tmp_path / "plain.mp4"), display_rotation=90).output(
            str(tmp_path / "turned.mp4"), vcodec="copy", acodec="copy"
        )
    )
    facts = probe(tmp_path / "turned.mp4", SETTINGS)
    assert (facts.width_px, facts.height_px, facts.rotation_degrees) == (64, 128, 90)


@pytest.mark.parametrize("name", ["late.mp4", "fast.mp4", "a.mov", "a.mkv", "a.webm", "a.avi"])
@pytest.mark.parametrize("share", [0.4, 0.7])
def test_probe_refuses_truncated_videos(sources: Path, tmp_path: Path, name: str, share: float) -> None:
    whole = (sources / name).read_bytes()
    path = tmp_path / f"with space é {name}"
    path.write_bytes(whole[: int(share * len(whole))])
    assert reason_of(path) == "truncated"


def write_playlist(folder: Path, target: Path) -> Path:
    path = folder / "playlist.mp4"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:3,\n{target}\n#EXT-X-ENDLIST\n")
    return path


def write_concat(folder: Path, target: Path) -> Path:
    path = folder / "concat.mkv"
    path.write_text(f"ffconcat version 1.0\nfile '{target}'\n")
    return path


def write_text(folder: Path, _: Path) -> Path:
    path = folder / "text.mp4"
    path.write_text("This is no video.\n" * 100)
    return path


def write_picture(folder: Path, _: Path) -> Path:
    path = folder / "picture.avi"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    return path


@pytest.mark.parametrize("write", [write_playlist, write_concat, write_text, write_picture])
def test_probe_refuses_playlists_without_reading_others(
    sources: Path, tmp_path: Path, write: Callable[[Path, Path], Path]
) -> None:
    # The file they point to is a good video: had it been read, the probe would have taken it.
    assert reason_of(write(tmp_path, sources / "late.mp4")) == "not_a_video"


def test_probe_refuses_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert reason_of(tmp_path / "a.mp4") == "zero_bytes"


def test_probe_refuses_a_corrupt_header(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 8)
    assert reason_of(tmp_path / "a.mkv") == "unreadable"


def test_probe_refuses_missing_streams(sources: Path, tmp_path: Path) -> None:
    source = ffmpeg.input(str(sources / "late.mp4"))
    run_ffmpeg(source.audio.output(str(tmp_path / "sound.mp4"), acodec="copy"))
    run_ffmpeg(source.video.output(str(tmp_path / "picture.mp4"), vcodec="copy"))
    assert reason_of(tmp_path / "sound.mp4") == "no_video"
    assert reason_of(tmp_path / "picture.mp4") == "no_sound"


def test_probe_ignores_cover_pictures(sources: Path, tmp_path: Path) -> None:
    source = ffmpeg.input(str(sources / "late.mp4"))
    cover = source.video.filter("trim", end_frame=1)
    options = {"c:v": "png", "disposition:v:0": "attached_pic", "acodec": "copy"}
    run_ffmpeg(ffmpeg.output(source.audio, cover, str(tmp_path / "cover.mp4"), **options))
    assert reason_of(tmp_path / "cover.mp4") == "no_video"


def test_probe_refuses_a_short_overlap(tmp_path: Path) -> None:
    make_video(tmp_path / "short.mp4", Recipe(seconds=0.8))
    assert reason_of(tmp_path / "short.mp4") == "too_short"
    make_video(tmp_path / "apart.mkv", Recipe(".mkv", codecs={**X264, **AAC}, audio_offset_seconds=2.5))
    assert reason_of(tmp_path / "apart.mkv") == "too_short"


def test_probe_refuses_large_pictures(tmp_path: Path) -> None:
    make_video(tmp_path / "wide.mp4", Recipe(output={"aspect": "2:1"}))  # displayed as 128 x 64
    assert reason_of(tmp_path / "wide.mp4", ProbeSettings(maximum_side_px=127)) == "too_large"


def test_refused_video_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(RefusedVideo("no_sound", "no sound stream")))  # noqa: S301 (our own bytes)
    assert (again.reason, again.detail, str(again)) == (
        "no_sound",
        "no sound stream",
        "no_sound: no sound stream",
    )


def is_refused(path: Path) -> bool:
    """Whether the probe refuses it; any other exception ends the test."""
    try:
        probe(path, SETTINGS)
    except RefusedVideo:
        return True
    return False


def test_matroska_cut_before_its_first_packets_is_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "whole.mkv", Recipe(".mkv", seconds=2.0, codecs=VP8_OPUS))
    whole, cut = (tmp_path / "whole.mkv").read_bytes(), tmp_path / "cut.mkv"
    for size in range(500, 2500, 50):  # FFmpeg knows no start of some of them
        cut.write_bytes(whole[:size])
        assert is_refused(cut), size


def test_damaged_transport_stream_raises_refusals_only(tmp_path: Path) -> None:
    """Where a table is damaged, a stream begins in the middle of the file."""
    make_video(tmp_path / "whole.ts", Recipe(".ts", seconds=2.0))
    whole, damaged = (tmp_path / "whole.ts").read_bytes(), tmp_path / "damaged.mpg"
    rng = random.Random(1)
    refused = 0
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(200):
            content[rng.randrange(len(content))] = rng.randrange(256)
        damaged.write_bytes(content)
        refused += is_refused(damaged)
    assert refused < 60


def with_claimed_pictures(data: bytes, count: int) -> bytes:
    """An mp4 whose first sample table claims `count` pictures of one byte each, in a box of constant size."""
    changed = bytearray(data)
    sizes, times, chunks = (data.index(name) for name in (b"stsz", b"stts", b"stsc"))
    struct.pack_into(">II", changed, sizes + 8, 1, count)
    struct.pack_into(">III", changed, times + 8, 1, count, 512)
    for entry in range(struct.unpack_from(">I", data, chunks + 8)[0]):
        struct.pack_into(">III", changed, chunks + 12 + 12 * entry, entry + 1, count, 1)
    return bytes(changed)


@pytest.mark.parametrize("count", [584_026, 4_194_304])
def test_more_pictures_than_bytes_are_refused(sources: Path, tmp_path: Path, count: int) -> None:
    path = tmp_path / "claims.mp4"
    path.write_bytes(with_claimed_pictures((sources / "late.mp4").read_bytes(), count))
    with pytest.raises(RefusedVideo, match=rf"{count} pictures, more than the file has bytes \(\d+\)"):
        probe(path, SETTINGS)


@pytest.mark.parametrize(
    ("limits", "reason", "detail"),
    [
        (MediaLimits(maximum_hours=0.0005), "too_long", "0.0 hours, need at most 0.0005"),
        (MediaLimits(maximum_frames=74), "too_long", "75 pictures, need at most 74"),
        (MediaLimits(maximum_pixels=4095), "too_large", "64 x 64 px is 4096 pixels, need at most 4095"),
    ],
)
def test_media_limits_are_stated_in_the_refusal(
    sources: Path, limits: MediaLimits, reason: str, detail: str
) -> None:
    with pytest.raises(RefusedVideo) as caught:
        probe(sources / "late.mp4", ProbeSettings(media=limits))
    assert (caught.value.reason, caught.value.detail) == (reason, detail)
    with (
        pytest.raises(RefusedVideo) as caught,
        open_video(sources / "late.mp4", DecodeSettings(), limits=limits) as video,
    ):
        list(video)
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


def test_decoder_refuses_pictures_that_grow_beyond_the_limit(tmp_path: Path) -> None:
    for name, side in (("small", 64), ("large", 512)):
        run_ffmpeg(
            ffmpeg.output(
                ffmpeg.input(f"testsrc=size={side}x{side}:rate=25:duration=1", format="lavfi"),
                ffmpeg.input("sine=duration=1", format="lavfi"),
                str(tmp_path / f"{name}.ts"),
                **X264,
                **AAC,
            )
        )
    grown = tmp_path / "grown.mpg"
    grown.write_bytes((tmp_path / "small.ts").read_bytes() + (tmp_path / "large.ts").read_bytes())
    limits = MediaLimits(maximum_pixels=100 * 100)
    with open_video(grown, DecodeSettings(), limits=limits) as video:
        shapes = {frame.image.shape for frame in video}
    assert shapes == {(64, 64, 3)}
    assert video.damaged_packets > 0


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    with pytest.raises(RefusedVideo, match="not_a_file"):
        probe(tmp_path / "b.mp4", SETTINGS)
