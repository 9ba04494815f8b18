"""The protocol `crop`, with a scorer whose pictures and sound carry the same numbers."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.metrics.lip_sync.distance import LipSyncScore, NotScored
from evaluation.metrics.lip_sync.lse_crop import score_crop_video, score_crops
from preprocessing.audio.lip_sync_distance import distances_by_shift

FRAMES = 60


class NumberScorer:
    """Frame and sound of one moment hold one number in 0 to 250; its feature is a point of the circle."""

    name = "number"

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def embed_frames(self, frames: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        numbers: list[float] = []
        for frame in frames:
            self.shapes.append(frame.shape)
            numbers.append(float(frame.mean()))
        return on_circle(np.asarray(numbers))

    def embed_sound(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        whole = samples[: len(samples) // 640 * 640].reshape(-1, 640)
        return on_circle(whole.mean(axis=1) * 256.0)


def on_circle(numbers: NDArray[np.float64] | NDArray[np.float32]) -> NDArray[np.float32]:
    angles = numbers / 256.0 * 2.0 * np.pi
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32).reshape(-1, 2)


def drawn(count: int, seed: int = 5) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 250, count)


def pictures(numbers: Sequence[int] | NDArray[np.int64], side_px: int = 8) -> list[NDArray[np.uint8]]:
    return [np.full((side_px, side_px, 3), number, np.uint8) for number in numbers]


def sound(numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.repeat(numbers / 256.0, 640).astype(np.float32)


def scored(score: LipSyncScore | NotScored) -> LipSyncScore:
    assert isinstance(score, LipSyncScore), score
    return score


@pytest.mark.parametrize("late", range(-5, 6))
def test_late_sound_lowers_the_offset(late: int) -> None:
    numbers = drawn(FRAMES + 10)
    score = scored(score_crops(pictures(numbers[5:-5]), sound(numbers[5 - late :][:FRAMES]), NumberScorer()))
    assert score.offset_frames == -late
    assert score.lse_d == pytest.approx(0.0, abs=1e-5)
    assert (score.scorer, score.protocol, score.frames) == ("number", "crop", FRAMES)


def test_sound_of_another_clip_scores_worse() -> None:
    mine, other = drawn(FRAMES), drawn(FRAMES, seed=6)
    true = scored(score_crops(pictures(mine), sound(mine), NumberScorer()))
    swapped = scored(score_crops(pictures(mine), sound(other), NumberScorer()))
    assert true.lse_c > 1.0
    assert swapped.lse_c < 0.5
    assert true.lse_d < 1e-5
    assert swapped.lse_d > 1.0


def test_shift_is_measured_only_over_sound() -> None:
    # Pictures are all 0, sound is 0 to 16: at shift s the mean of the sound's numbers that are left.
    found = distances_by_shift(
        np.zeros((17, 1), np.float32), np.arange(17, dtype=np.float32)[:, None], "left out"
    )
    np.testing.assert_allclose(found[[0, 1, 15, 16, 30]], [0.5, 1.0, 8.0, 8.5, 15.5], atol=1e-5)


def test_zeros_beyond_the_sound_depend_on_the_protocol() -> None:
    found = distances_by_shift(np.zeros((17, 1), np.float32), np.ones((17, 1), np.float32))
    np.testing.assert_allclose(found[[0, 15, 30]], [2 / 17, 1.0, 2 / 17], atol=1e-5)
    with pytest.raises(ValueError, match="need more than 15 windows, got 15"):
        distances_by_shift(np.zeros((15, 1), np.float32), np.ones((15, 1), np.float32), "left out")


@pytest.mark.parametrize("side_px", [64, 224, 256])
def test_pictures_of_any_size_are_resized_to_224(side_px: int) -> None:
    scorer, numbers = NumberScorer(), drawn(30)
    score = scored(score_crops(pictures(numbers, side_px), sound(numbers), scorer))
    assert score.lse_d == pytest.approx(0.0, abs=1e-5)
    assert set(scorer.shapes) == {(224, 224, 3)}


def test_short_or_not_square_videos_are_not_scored() -> None:
    numbers = drawn(29)
    short = score_crops(pictures(numbers), sound(drawn(40)), NumberScorer())
    assert short == NotScored("number", "crop", "too_short", "29 frames and 40 of sound, need 30 of each")
    wide = score_crops([np.zeros((8, 10, 3), np.uint8)] * 40, sound(drawn(40)), NumberScorer())
    assert wide == NotScored("number", "crop", "not_square", "pictures are 10 x 8, aligned crops are square")


def write_video(path: Path, numbers: NDArray[np.int64], heard: NDArray[np.int64]) -> None:
    """Lossless, 25 pictures a second, 16 kHz."""
    with av.open(str(path), "w") as container:
        film = container.add_stream("ffv1", rate=25)
        film.width = film.height = 64
        film.pix_fmt = "bgr0"
        track = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for picture in pictures(numbers, 64):
            container.mux(film.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        samples = np.round(sound(heard) * 32_767).astype(np.int16)[None]
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        block.sample_rate, block.time_base, block.pts = 16_000, Fraction(1, 16_000), 0
        container.mux(track.encode(block))
        for stream in (film, track):
            container.mux(stream.encode())


def test_video_file_scores_as_its_pictures_and_sound(tmp_path: Path) -> None:
    numbers = drawn(50)
    write_video(tmp_path / "late.mkv", numbers[:-3], np.concatenate([drawn(3, seed=8), numbers])[:47])
    score = scored(score_crop_video(tmp_path / "late.mkv", NumberScorer()))
    assert (score.offset_frames, score.frames) == (-3, 47)
    assert score.lse_d == pytest.approx(0.0, abs=0.05)


def test_file_that_is_no_video_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    score = score_crop_video(tmp_path / "text.mp4", NumberScorer())
    assert isinstance(score, NotScored)
    assert score.reason in {"not_a_video", "unreadable"}
