"""Files with wrong time stamps: every picture once, in display order, in step with the sound."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.media.container import RefusedVideo
from preprocessing.media.decoding import DecodeSettings, VideoFrame, decode_sound, open_video
from tests.factories.preprocessing.media import (
    AAC,
    MPEG1,
    MPEG4_MP3,
    PCM,
    VP8_OPUS,
    X264,
    X264_B_FRAMES,
    Recipe,
    chirp,
    make_video,
    read_number,
    run_ffmpeg,
)

SETTINGS = DecodeSettings()
B_PYRAMID = {**X264_B_FRAMES, "x264-params": "b-pyramid=normal:b-adapt=0", "bf": 5}


class Decoded:
    def __init__(self, path: Path) -> None:
        blocks: list[NDArray[np.float32]] = []
        with open_video(path, SETTINGS, blocks.append) as self.video:
            self.frames: list[VideoFrame] = list(self.video)
        self.sound = np.concatenate(blocks)
        self.numbers = [read_number(frame.image) for frame in self.frames]

    def chirps_after(self, places: dict[int, int]) -> list[float]:
        """Milliseconds by which the chirp that belongs to the picture at each place is late."""
        correlation = np.abs(np.correlate(self.sound, chirp(16_000), "valid"))
        late = []
        for place in places.values():
            expected = place * 640
            start = max(0, expected - 1600)
            late.append((start + int(np.argmax(correlation[start : expected + 1600])) - expected) / 16)
        return late


def first_places(numbers: list[int], wanted: list[int], since: int = 0) -> dict[int, int]:
    return {number: numbers.index(number, since) for number in wanted}


def remux(source: Path, target: Path, video_filter: str) -> None:
    run_ffmpeg(ffmpeg.input(str(source)).output(str(target), c="copy", **{"bsf:v": video_filter}))


@pytest.mark.parametrize(
    "codecs",
    [{**B_PYRAMID, **PCM}, {**MPEG4_MP3, "bf": 4, **PCM}, {**X264, **PCM}],
    ids=["h264 pyramid", "mpeg4", "h264 without"],
)
def test_avi_with_b_frames_keeps_every_picture(tmp_path: Path, codecs: dict[str, object]) -> None:
    recipe = Recipe(".avi", codecs=codecs)
    make_video(tmp_path / "a.avi", recipe)
    decoded = Decoded(tmp_path / "a.avi")
    assert decoded.numbers == list(range(75))
    places = first_places(decoded.numbers, recipe.flash_numbers)
    assert np.abs(decoded.chirps_after(places)).max() < 1.0


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_presentation_stamps_in_decoding_order_are_repaired(tmp_path: Path, suffix: str) -> None:
    recipe = Recipe(".mkv", codecs={**B_PYRAMID, **PCM} if suffix == ".mkv" else {**B_PYRAMID, **AAC})
    make_video(tmp_path / "a.mkv", recipe)
    remux(tmp_path / "a.mkv", tmp_path / f"b{suffix}", "setts=pts=N/25/TB:dts=N/25/TB")
    decoded = Decoded(tmp_path / f"b{suffix}")
    assert decoded.numbers == list(range(75))
    places = first_places(decoded.numbers, recipe.flash_numbers)
    assert np.abs(decoded.chirps_after(places)).max() < 1.0


def test_swapped_stamps_are_sorted_and_counted(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mkv", Recipe(".mkv", codecs={**X264, **PCM}))
    swap = "if(eq(mod(N,10),3),1,if(eq(mod(N,10),4),-1,0))"
    remux(tmp_path / "a.mkv", tmp_path / "b.mkv", f"setts=pts='(N+{swap})/25/TB':dts=N/25/TB")
    decoded = Decoded(tmp_path / "b.mkv")
    assert decoded.numbers == list(range(75))
    assert decoded.video.restamped_pictures == 16  # 3 and 4, 13 and 14, ..., 73 and 74


def test_equal_stamps_share_the_time_until_the_next(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mkv", Recipe(".mkv", codecs={**X264, **PCM}))
    remux(tmp_path / "a.mkv", tmp_path / "b.mkv", "setts=ts='(N-eq(mod(N,25),13))/25/TB'")
    assert Decoded(tmp_path / "b.mkv").numbers == list(range(75))


def test_stamps_beyond_sorting_are_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mkv", Recipe(".mkv", codecs={**X264, **PCM}))
    remux(tmp_path / "a.mkv", tmp_path / "b.mkv", "setts=pts='mod(N*37,75)/25/TB':dts=N/25/TB")
    with pytest.raises(RefusedVideo, match="broken_time_stamps"):
        Decoded(tmp_path / "b.mkv")


@pytest.mark.parametrize(
    ("suffix", "codecs"),
    [(".mpg", MPEG1), (".ts", {**X264_B_FRAMES, **AAC}), (".webm", VP8_OPUS)],
    ids=["mpg", "ts", "webm"],
)
def test_joined_files_are_one_behind_the_other(
    tmp_path: Path, suffix: str, codecs: dict[str, object]
) -> None:
    recipe = Recipe(suffix, codecs=codecs, sample_rate_hz=48_000)
    make_video(tmp_path / f"a{suffix}", recipe)
    make_video(tmp_path / f"b{suffix}", replace(recipe, seconds=2.0))
    joined = tmp_path / f"joined{suffix}"
    joined.write_bytes((tmp_path / f"a{suffix}").read_bytes() + (tmp_path / f"b{suffix}").read_bytes())
    decoded = Decoded(joined)
    second = next(frame.index for frame in decoded.frames if frame.begins_part) - decoded.frames[0].index
    assert decoded.video.parts == 2
    assert list(dict.fromkeys(decoded.numbers[:second])) == list(range(75))
    assert list(dict.fromkeys(decoded.numbers[second:])) == list(range(50))
    index = [frame.index for frame in decoded.frames]
    assert index == list(range(index[0], index[0] + len(index)))
    flashes = [number for number in recipe.flash_numbers if number < 40]
    for since in (0, second):
        places = first_places(decoded.numbers, flashes, since)
        late = decoded.chirps_after({number: place + index[0] for number, place in places.items()})
        assert np.ptp(late) < 1.0
        assert np.abs(late).max() < 21.0
    alone = decode_sound(joined, SETTINGS)
    shared = min(len(alone), len(decoded.sound))
    np.testing.assert_array_equal(alone[:shared], decoded.sound[:shared])


def test_a_clock_that_jumps_ahead_begins_a_part(tmp_path: Path) -> None:
    recipe = Recipe(".ts", codecs={**X264, **AAC}, seconds=2.0)
    make_video(tmp_path / "a.ts", recipe)
    later = replace(recipe, output={"output_ts_offset": 3600})
    make_video(tmp_path / "b.ts", later)
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    decoded = Decoded(joined)
    assert decoded.video.parts == 2
    assert len(decoded.frames) == pytest.approx(100, abs=3)
    assert len(decoded.sound) / 16_000 == pytest.approx(4.0, abs=0.2)


def test_grid_of_other_rates_survives_sorting(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", Recipe(fps=Fraction(30), codecs={**B_PYRAMID, **AAC}))
    decoded = Decoded(tmp_path / "a.mp4")
    assert decoded.video.restamped_pictures == 0
    assert decoded.numbers == sorted(decoded.numbers)
