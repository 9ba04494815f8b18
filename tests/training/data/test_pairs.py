import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.factories.training.data import READER, MadeClip, key_of, make_data_set
from training.data import pairs
from training.data.batches import CorruptMember, RowFacts
from training.data.index import ClipIndex, read_clip_index
from training.data.pairs import AppearanceFrom, FrameState, PairDraws, PairSettings, mouth_opening, read_state
from training.data.shard_reader import ShardReader

CLIPS = (
    MadeClip("anna", "train", 0, 12, video="first"),
    MadeClip("anna", "train", 0, 9, video="first"),
    MadeClip("anna", "train", 0, 9, video="second"),
    MadeClip("anna face 2", "train", 0, 8, video="first"),
    MadeClip("bert", "train", 0, 14, video="third"),
    MadeClip("bert", "train", 0, 14, video="fourth"),
    MadeClip("carl", "validation", 0, 8),  # without held-out people, clips are held out
)
FACTS = RowFacts(keys=("",), frames=(0,), epochs=(0,), seeds=(0,), real=(True,))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ClipIndex:
    root: Path = tmp_path_factory.mktemp("root")
    make_data_set(root, CLIPS)
    return read_clip_index(root / "assets/dataset", root, "train")


@pytest.fixture
def reader(index: ClipIndex) -> ShardReader:
    return ShardReader(index, READER)


@pytest.mark.parametrize(
    ("appearance_from", "expected"),
    [
        ("identity", [{1}, {0}, {0, 1}, {3}, {5}, {4}]),
        ("video", [{1}, {0}, {2}, {3}, {4}, {5}]),
        ("clip", [{0}, {1}, {2}, {3}, {4}, {5}]),
    ],
)
def test_appearance_is_of_another_clip(
    index: ClipIndex, reader: ShardReader, appearance_from: AppearanceFrom, expected: list[set[int]]
) -> None:
    draws = PairDraws(index, PairSettings(appearance_from=appearance_from, minimum_gap_frames=3))
    rng = np.random.default_rng(0)
    for clip, clips in enumerate(expected):
        drawn = [draws.appearance(reader, clip, 4, rng, FACTS) for _ in range(30)]
        assert {other for other, _ in drawn} == clips
        assert all(0 <= frame < CLIPS[other].frames for other, frame in drawn)
        assert all(abs(frame - 4) >= 3 for other, frame in drawn if other == clip)


def test_appearance_is_of_the_same_clip_if_the_other_is_unreadable(
    index: ClipIndex, reader: ShardReader
) -> None:
    draws, rng = PairDraws(index, PairSettings()), np.random.default_rng(0)
    corrupt = CorruptMember("shard", key_of(1), "000.jpg", "is missing")
    facts = dataclasses.replace(FACTS, corrupt=(corrupt,))
    assert {draws.appearance(reader, 0, 4, rng, facts)[0] for _ in range(10)} == {0}


@pytest.mark.parametrize(
    ("clip", "other", "driving", "farthest"), [(3, 3, 1, 7), (3, 3, 6, 0), (4, 5, 2, 13)]
)
def test_appearance_is_the_farthest_of_the_drawn(
    index: ClipIndex, reader: ShardReader, clip: int, other: int, driving: int, farthest: int
) -> None:
    # Labels grow with the frame number, so the farthest frame is at an end of the clip.
    rng = np.random.default_rng(0)
    draws = PairDraws(index, PairSettings(prefer_apart=200))
    assert {draws.appearance(reader, clip, driving, rng, FACTS) for _ in range(10)} == {(other, farthest)}
    uniform = PairDraws(index, PairSettings(prefer_apart=1))
    assert len({uniform.appearance(reader, clip, driving, rng, FACTS) for _ in range(60)}) > 5


def test_half_of_the_driving_frames_are_balanced(
    index: ClipIndex, reader: ShardReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = np.zeros((3, 14))
    events[0, 7] = 1.0  # the eyes are shut once

    def blink_at_7(_: ShardReader, clip: int) -> FrameState:
        assert clip == 4
        return FrameState(np.zeros((14, 7)), events)

    monkeypatch.setattr(pairs, "read_state", blink_at_7)

    def share(settings: PairSettings, margin_frames: int = 0) -> float:
        draws, rng = PairDraws(index, settings), np.random.default_rng(0)
        counts = Counter(draws.driving(reader, 4, rng, margin_frames) for _ in range(3000))
        assert min(counts) == margin_frames
        assert max(counts) == 13 - margin_frames
        return counts[7] / 3000

    assert share(PairSettings(balance_events=False)) == pytest.approx(1 / 14, abs=0.02)
    shut = 1.02 / (1.02 + 13 * 0.02)
    assert share(PairSettings()) == pytest.approx(5 / 6 / 14 + shut / 6, abs=0.03)
    shut = 1.02 / (1.02 + 9 * 0.02)
    assert share(PairSettings(), margin_frames=2) == pytest.approx(5 / 6 / 10 + shut / 6, abs=0.03)


def test_frame_state_has_units_of_the_scales(reader: ShardReader) -> None:
    state = read_state(reader, 1)
    frame = np.arange(9)
    assert state.position[:, 0] == pytest.approx((frame / 64 + 1 / 1024) / 0.2)
    assert state.position[:, 4] == pytest.approx(frame / 64 / 0.2)
    assert state.position[:, 5] == pytest.approx(0)
    assert state.position[:, 6] == pytest.approx(frame / 128)
    assert state.events[0] == pytest.approx((frame / 128) ** 2)
    assert state.events[1] == pytest.approx(2 * ((frame - 4) / 64 / 0.2) ** 2)


def test_mouth_opening_is_relative_to_the_eyes() -> None:
    landmarks = np.zeros((2, 478, 3), np.float32)
    landmarks[:, 33], landmarks[:, 263] = (60, 90, 0), (140, 90, 60)  # 100 px apart
    landmarks[:, 13], landmarks[:, 14] = (100, 150, 0), ((100, 150, 0), (100, 180, 0))
    assert mouth_opening(landmarks).tolist() == pytest.approx([0.0, 0.3])
