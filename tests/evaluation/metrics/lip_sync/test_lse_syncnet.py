"""The whole chain against the algorithm written down plainly: a window at a time, from the weights' keys."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from evaluation.metrics.lip_sync.distance import LipSyncScore, NotScored
from evaluation.metrics.lip_sync.face_crops import TrackProtocol
from evaluation.metrics.lip_sync.lse_syncnet_frame import score_whole_frames
from evaluation.metrics.lip_sync.lse_syncnet_track import read_crops
from evaluation.metrics.lip_sync.syncnet import SyncNetScorer, load_syncnet_scorer
from models.external.syncnet import SyncNet
from preprocessing.media.decoding import DecodeSettings, decode_sound, open_video
from tests.factories.models.weights import randomise
from tests.factories.preprocessing.media import Recipe, make_video

Weights = dict[str, Tensor]
PICTURE_LAYERS: Final = {0: ((1, 2, 2), 0), 4: ((1, 2, 2), 1), 8: (1, 1), 11: (1, 1), 14: (1, 1), 18: (1, 0)}
"""Place of a convolution -> its strides and its zeros around rows and columns."""
PICTURE_POOLS: Final = {0: 0, 4: 1, 14: 0}
"""Place of the convolution in front of a pool of 3 x 3 by steps of 2 -> its zeros."""
SOUND_LAYERS: Final = {0: 1, 4: 1, 8: 1, 11: 1, 14: 1, 18: 0}
SOUND_POOLS: Final = {4: (1, 2), 14: (2, 2)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = SyncNet()
    randomise(network, seed=43)
    path = tmp_path_factory.mktemp("weights") / "syncnet_v2.model"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def scorer(weights: Path) -> SyncNetScorer:
    return load_syncnet_scorer(weights)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "short.mp4"
    make_video(path, Recipe(seconds=1.2))
    return path


def normed(tensor: Tensor, state: Weights, name: str) -> Tensor:
    statistics = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return functional.batch_norm(tensor, *statistics, state[f"{name}.weight"], state[f"{name}.bias"]).relu()


def head(tensor: Tensor, state: Weights, name: str) -> Tensor:
    hidden = functional.linear(tensor.flatten(1), state[f"{name}.0.weight"], state[f"{name}.0.bias"])
    hidden = normed(hidden, state, f"{name}.1")
    return functional.linear(hidden, state[f"{name}.3.weight"], state[f"{name}.3.bias"])


def plain_video_window(window: Tensor, state: Weights) -> Tensor:
    for place, (stride, zeros) in PICTURE_LAYERS.items():
        layer, name = f"netcnnlip.{place}", f"netcnnlip.{place + 1}"
        weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
        window = functional.conv3d(window, weight, bias, stride, (0, zeros, zeros))
        window = normed(window, state, name)
        if place in PICTURE_POOLS:
            edge = PICTURE_POOLS[place]
            window = functional.max_pool3d(window, (1, 3, 3), (1, 2, 2), (0, edge, edge))
    return head(window, state, "netfclip")


def plain_sound_window(window: Tensor, state: Weights) -> Tensor:
    for place, zeros in SOUND_LAYERS.items():
        layer, name = f"netcnnaud.{place}", f"netcnnaud.{place + 1}"
        window = functional.conv2d(window, state[f"{layer}.weight"], state[f"{layer}.bias"], 1, zeros)
        window = normed(window, state, name)
        if place in SOUND_POOLS:
            window = functional.max_pool2d(window, 3, SOUND_POOLS[place])
    return head(window, state, "netfcaud")


def plain_mfcc(samples: NDArray[np.int16]) -> list[list[float]]:
    """Window by window, filter by filter, with sums written out."""
    signal = [float(samples[0])] + [
        float(samples[n]) - 0.97 * float(samples[n - 1]) for n in range(1, len(samples))
    ]
    mels = [2595 * np.log10(1 + 8000 / 700) * n / 27 for n in range(28)]
    places = [int(np.floor(513 * 700 * (10 ** (mel / 2595) - 1) / 16000)) for mel in mels]
    rows: list[list[float]] = []
    start = 0
    while start == 0 or start + 400 < len(signal) + 160:
        window = np.zeros(512)
        piece = signal[start : start + 400]
        window[: len(piece)] = piece
        power = np.abs(np.fft.fft(window)[:257]) ** 2 / 512
        logs: list[float] = []
        for low, middle, high in zip(places, places[1:], places[2:], strict=False):
            total = sum(power[i] * (i - low) / (middle - low) for i in range(low, middle))
            total += sum(power[i] * (high - i) / (high - middle) for i in range(middle, high))
            logs.append(float(np.log(total or np.finfo(float).eps)))
        row = [float(np.log(power.sum() or np.finfo(float).eps))]
        for k in range(1, 13):
            cosines = [logs[m] * np.cos(np.pi * k * (2 * m + 1) / 52) for m in range(26)]
            row.append(float(sum(cosines) * np.sqrt(2 / 26) * (1 + 11 * np.sin(np.pi * k / 22))))
        rows.append(row)
        start += 160
    return rows


def plain_score(frames: list[NDArray[np.uint8]], sound: NDArray[np.int16], state: Weights) -> LipSyncScore:
    coefficients = torch.tensor(plain_mfcc(sound)).T
    bgr = torch.from_numpy(np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in frames])).float()
    count = min(len(frames), len(sound) // 640) - 5
    seen: list[Tensor] = []
    heard: list[Tensor] = []
    for start in range(count):
        seen.append(plain_video_window(bgr[start : start + 5].permute(3, 0, 1, 2)[None], state)[0])
        heard.append(plain_sound_window(coefficients[None, None, :, 4 * start : 4 * start + 20], state)[0])
    zeros = [torch.zeros(1024)] * 15
    padded = zeros + heard + zeros
    columns: list[Tensor] = []
    for start in range(count):
        own = seen[start].repeat(31, 1)
        columns.append(functional.pairwise_distance(own, torch.stack(padded[start : start + 31])))
    means = torch.stack(columns, dim=1).mean(dim=1)
    lowest, place = means.min(dim=0)
    return LipSyncScore(
        scorer="syncnet_v2",
        protocol="frame",
        lse_c=float(means.median() - lowest),
        lse_d=float(lowest),
        offset_frames=15 - int(place),
        distances_by_shift=tuple(means.tolist()),
        frames=count,
    )


def test_scores_equal_a_plain_implementation(video: Path, weights: Path, scorer: SyncNetScorer) -> None:
    found = score_whole_frames(video, scorer)
    assert isinstance(found, LipSyncScore)
    with open_video(video, DecodeSettings()) as decoded:
        frames = [np.asarray(cv2.resize(frame.image, (224, 224)), np.uint8) for frame in decoded]
    sound = np.round(decode_sound(video, DecodeSettings()).astype(np.float64) * 32_768)
    with torch.inference_mode():
        expected = plain_score(frames, sound.clip(-32_768, 32_767).astype(np.int16), torch.load(weights))
    assert found.frames == expected.frames == 25
    assert found.offset_frames == expected.offset_frames
    np.testing.assert_allclose(found.distances_by_shift, expected.distances_by_shift, rtol=0, atol=1e-4)
    assert found.lse_c == pytest.approx(expected.lse_c, abs=1e-4)
    assert found.lse_d == pytest.approx(expected.lse_d, abs=1e-4)
    assert found.lse_c > 0.1  # the curve is not flat, so that the figures could differ


def test_window_counts_equal_the_published_program(scorer: SyncNetScorer) -> None:
    frame = np.zeros((224, 224, 3), np.uint8)
    assert [len(scorer.embed_frames([frame] * count)) for count in (0, 5, 6, 12)] == [0, 0, 1, 7]
    samples = np.ones(640 * 7, np.float32)
    assert [len(scorer.embed_sound(samples[:count])) for count in (0, 3839, 3840, 4480)] == [0, 0, 1, 2]


def test_scorer_rejects_frames_of_another_size(scorer: SyncNetScorer) -> None:
    with pytest.raises(ValueError, match=r"frames must be \[224, 224, 3\], got \[64, 64, 3\]"):
        scorer.embed_frames([np.zeros((64, 64, 3), np.uint8)] * 5)


def test_short_video_is_not_scored(tmp_path: Path, scorer: SyncNetScorer) -> None:
    make_video(tmp_path / "five.mp4", Recipe(seconds=0.2))
    found = score_whole_frames(tmp_path / "five.mp4", scorer)
    assert isinstance(found, NotScored)
    assert found.reason == "too_short"


def test_crops_are_of_the_frames_of_the_track(video: Path) -> None:
    squares = np.asarray([[0, 0, 64, 64]] * 3)
    crops = list(read_crops(video, 10, squares, TrackProtocol()))
    with open_video(video, DecodeSettings()) as decoded:
        expected = [cv2.resize(frame.image, (224, 224)) for frame in decoded][10:13]
    np.testing.assert_array_equal(crops, expected)
