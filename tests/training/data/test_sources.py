import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from preprocessing.faces.shape.expression import measure_expression
from tests.factories.training.data import (
    CLIPS,
    COMPOSITE,
    EYES,
    FRAME,
    READER,
    MadeClip,
    key_of,
    make_data_set,
    read_pictures,
)
from training.data import shard_reader as data_shards
from training.data.batches import RowFacts
from training.data.draws import draw_other
from training.data.eye_anchors import EyeAnchorReading, EyeAnchorSource
from training.data.index import ClipIndex, NoSamplesError, Split, read_clip_index
from training.data.lip_windows import LipWindowSettings, LipWindowSource
from training.data.loader import BatchStream, LoaderSettings
from training.data.shard_reader import ShardReader
from training.data.sources import (
    ClipPairSettings,
    ClipPairSource,
    ExpressionWindowSettings,
    ExpressionWindowSource,
    LabelledFrameSource,
)

LOADER = LoaderSettings(batch_size=5, workers=0, reader=READER)
NUMBERS = {key_of(number): number for number in range(len(CLIPS))}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    make_data_set(folder)
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the size of every image that is decoded."""
    sizes = list[int]()
    decode = data_shards.decode_image

    def counting(data: bytes) -> torch.Tensor:
        sizes.append(len(data))
        return decode(data)

    monkeypatch.setattr(data_shards, "decode_image", counting)
    return sizes


def index_of(root: Path, split: Split = "train") -> ClipIndex:
    return read_clip_index(root / "assets/dataset", root, split)


def driving(facts: RowFacts) -> list[tuple[int, int, int]]:
    return [(NUMBERS[key], frame, FRAME) for key, frame in zip(facts.keys, facts.frames, strict=True)]


def mel_of(frame: int) -> torch.Tensor:
    """[1, 80, 20] by the definition: 20 rows from 4 (t - 2), of a member that starts with row -8."""
    return (torch.arange(4 * frame, 4 * frame + 20, dtype=torch.float32) / 512).expand(1, 80, 20)


def test_clip_pairs_decode_two_frames(root: Path, decoded: list[int]) -> None:
    settings = ClipPairSettings(appearance_from="clip", minimum_gap_frames=3)
    source = ClipPairSource(index_of(root), settings)
    for batch in itertools.islice(BatchStream(source, LOADER), 8):
        assert batch.driving.dtype == torch.uint8
        assert read_pictures(batch.driving) == driving(batch.facts)
        pairs = zip(read_pictures(batch.appearance), read_pictures(batch.driving), strict=True)
        for first, second in pairs:
            assert (first[0], first[2]) == (second[0], FRAME)
            assert abs(first[1] - second[1]) >= 3
    assert len(decoded) == 8 * 5 * 2


def test_lip_negatives_keep_the_gap(root: Path, decoded: list[int]) -> None:
    source = LipWindowSource(
        index_of(root), LipWindowSettings(from_same_clip=1, from_other_clips=3, minimum_gap_frames=3)
    )
    for batch in itertools.islice(BatchStream(source, LOADER), 8):
        assert read_pictures(batch.frames) == driving(batch.facts)
        assert batch.from_same_clip.tolist() == [[True, False, False, False]] * 5
        for row, (clip, frame, _) in enumerate(driving(batch.facts)):
            assert torch.equal(batch.mels[row], mel_of(frame))
            negatives = read_pictures(batch.negative_frames[row])
            own, foreign = negatives[0], negatives[1:]
            assert own[0] == clip
            assert abs(own[1] - frame) >= 3
            assert clip not in {negative[0] for negative in foreign}
            assert len({negative[0] for negative in foreign}) == 3
            for number, (_, at, _) in enumerate(negatives):
                assert torch.equal(batch.negative_mels[row, number], mel_of(at))
    assert len(decoded) == 8 * 5 * 5


def test_single_clip_gives_no_lip_windows_with_other_clips(tmp_path: Path) -> None:
    # A validation split of one clip: the stage trains, and has no held-out metrics.
    make_data_set(tmp_path, [MadeClip("anna", "train", 0, 9), MadeClip("dora", "validation", 0, 8)])
    with pytest.raises(NoSamplesError, match="1 clip in split validation: no other clip for negatives"):
        LipWindowSource(index_of(tmp_path, "validation"), LipWindowSettings())


def test_lip_windows_have_clip_and_frame(root: Path) -> None:
    index = index_of(root)
    for batch in itertools.islice(
        BatchStream(
            LipWindowSource(
                index, LipWindowSettings(from_same_clip=2, from_other_clips=2, minimum_gap_frames=1)
            ),
            LOADER,
        ),
        4,
    ):
        for row in range(len(batch)):
            shown = read_pictures(torch.cat([batch.frames[row][None], batch.negative_frames[row]]))
            moments = [(NUMBERS[index.key(clip)], frame) for clip, frame in batch.moments[row].tolist()]
            assert moments == [(clip, frame) for clip, frame, _ in shown]


def test_lip_negatives_keep_the_gap_between_each_other(root: Path) -> None:
    source = LipWindowSource(
        index_of(root), LipWindowSettings(from_same_clip=2, from_other_clips=0, minimum_gap_frames=2)
    )
    for batch in itertools.islice(BatchStream(source, LOADER), 8):
        frames = batch.moments[:, :, 1].sort(dim=1).values
        assert (frames.diff(dim=1) >= 2).all()


def test_lip_negatives_of_short_clips_come_from_others(root: Path) -> None:
    source = LipWindowSource(
        index_of(root), LipWindowSettings(from_same_clip=3, from_other_clips=1, minimum_gap_frames=6)
    )
    for batch in itertools.islice(BatchStream(source, LOADER), 6):
        assert batch.negative_frames.shape[:2] == (5, 4)
        for row, (clip, frame, _) in enumerate(driving(batch.facts)):
            own = [at for other, at, _ in read_pictures(batch.negative_frames[row]) if other == clip]
            possible = sum(abs(at - frame) >= 6 for at in range(CLIPS[clip].frames))
            assert len(own) == min(3, possible) == int(batch.from_same_clip[row].sum())
            assert len(set(own)) == len(own)


def test_lip_negatives_of_the_same_shard(root: Path) -> None:
    source = LipWindowSource(
        index_of(root), LipWindowSettings(from_same_clip=0, from_other_clips=1, other_clips="shard")
    )
    for batch in itertools.islice(BatchStream(source, LOADER), 8):
        for row, (clip, _, _) in enumerate(driving(batch.facts)):
            ((other, _, _),) = read_pictures(batch.negative_frames[row])
            assert other != clip
            assert clip == 6 or CLIPS[other].shard == CLIPS[clip].shard


def test_lip_windows_of_one_clip(tmp_path: Path) -> None:
    make_data_set(tmp_path, [MadeClip("anna", "train", 0, 12)])
    with pytest.raises(ValueError, match="no other clip"):
        LipWindowSource(index_of(tmp_path), LipWindowSettings(from_same_clip=0, from_other_clips=1))
    source = LipWindowSource(
        index_of(tmp_path), LipWindowSettings(from_same_clip=2, from_other_clips=0, minimum_gap_frames=1)
    )
    batch = next(iter(BatchStream(source, LOADER)))
    assert batch.from_same_clip.all()


def test_eye_anchors_are_of_the_split(root: Path, decoded: list[int]) -> None:
    # train: anna <- bert, bert <- anna, bert <- "carl face 3"; not dora, emil (validation), nobody (unknown)
    source = EyeAnchorSource(index_of(root), ShardReader(index_of(root), READER))
    assert [source.name(item) for item in range(len(source.clips))] == ["clip-00#0", "clip-03#0", "clip-03#2"]
    assert source.other_split_count == 3
    batch = next(iter(BatchStream(source, LoaderSettings(batch_size=3, workers=0, reader=READER))))
    numbers = sorted(read_pictures(batch.anchor))
    assert numbers == [(0, 0, COMPOSITE), (3, 0, COMPOSITE), (3, 2, COMPOSITE)]
    assert read_pictures(batch.eyes) == [(clip, at, EYES) for clip, at, _ in read_pictures(batch.anchor)]
    assert read_pictures(batch.base) == [(clip, at + 1, FRAME) for clip, at, _ in read_pictures(batch.anchor)]
    assert driving(batch.facts) == read_pictures(batch.base)
    assert len(decoded) == 9


def test_split_without_anchors_is_rejected(root: Path, tmp_path: Path) -> None:
    make_data_set(tmp_path, [MadeClip("anna", "train", 0, 12, ("emil",)), MadeClip("emil", "test", 0, 9)])
    with pytest.raises(ValueError, match="1 anchors, 1 with eyes of another split"):
        EyeAnchorSource(index_of(tmp_path), ShardReader(index_of(tmp_path), READER))
    source = EyeAnchorSource(index_of(root, "validation"), ShardReader(index_of(root, "validation"), READER))
    assert [source.name(item) for item in range(len(source.clips))] == ["clip-02#1"]


def test_eye_anchors_of_one_identity(tmp_path: Path) -> None:
    clips = [
        MadeClip("anna", "train", 0, 12, ("anna", "emil")),
        MadeClip("emil", "validation", 0, 9, ("anna", "emil")),
    ]
    make_data_set(tmp_path, clips)
    index = index_of(tmp_path, "validation")
    source = EyeAnchorSource(index, ShardReader(index, READER))
    assert [source.name(item) for item in range(len(source.clips))] == ["clip-01#1"]
    assert source.other_split_count == 1


def test_eye_anchors_bring_labelled_frames_of_their_clip(root: Path) -> None:
    index = index_of(root)
    source = EyeAnchorSource(index, ShardReader(index, READER), EyeAnchorReading(labelled_frames=3))
    for batch in itertools.islice(BatchStream(source, LOADER), 4):
        assert batch.labelled is not None
        assert batch.eye_labels is not None
        for row, (base, _, _) in enumerate(driving(batch.facts)):
            shown = read_pictures(batch.labelled[row])
            assert {clip for clip, _, _ in shown} == {base}
            labels = [[at / 64] * 2 + [at / 128] * 2 for _, at, _ in shown]
            assert batch.eye_labels[row].tolist() == labels


def test_labelled_frames_have_the_frames_labels(root: Path, decoded: list[int]) -> None:
    for batch in itertools.islice(BatchStream(LabelledFrameSource(index_of(root)), LOADER), 4):
        assert read_pictures(batch.frames) == driving(batch.facts)
        for row, (clip, frame, _) in enumerate(driving(batch.facts)):
            assert batch.pose[row].tolist() == [frame / 64 + clip / 1024] * 6
            assert batch.gaze[row].tolist() == [frame / 64] * 2
            assert batch.blink[row].tolist() == [frame / 128] * 2
            assert torch.equal(batch.landmarks_px[row], torch.full((478, 3), 100.0 * clip + frame))
    assert len(decoded) == 4 * 5


def test_expression_windows_spread_over_the_clip(root: Path) -> None:
    source = ExpressionWindowSource(index_of(root), ExpressionWindowSettings(window_frames=5))
    driven = set[tuple[int, int]]()
    for batch in itertools.islice(BatchStream(source, LOADER), 40):
        assert read_pictures(batch.driving) == driving(batch.facts)
        for row, (clip, frame, _) in enumerate(driving(batch.facts)):
            shown = read_pictures(batch.window[row])
            assert {other for other, _, _ in shown} == {clip}
            length = CLIPS[clip].frames
            bounds = [length * part // 5 for part in range(6)]
            counts = np.histogram([at for _, at, _ in shown], bounds)[0]
            # The last bin of a histogram includes its right bound, which is no frame.
            assert counts.tolist() == [1] * 5
            assert torch.equal(batch.mels[row], mel_of(frame))
            driven.add((clip, frame))
    trained = [number for number, clip in enumerate(CLIPS) if clip.split == "train"]
    ends = {(clip, at) for clip in trained for at in (0, CLIPS[clip].frames - 1)}
    assert len(driven & ends) > len(ends) // 2  # the driving frame may be any of the clip


def test_expression_windows_of_a_span_stay_near_the_driving_frame(root: Path) -> None:
    source = ExpressionWindowSource(
        index_of(root), ExpressionWindowSettings(window_frames=3, window_span_frames=4)
    )
    for batch in itertools.islice(BatchStream(source, LOADER), 40):
        for row, (clip, frame, _) in enumerate(driving(batch.facts)):
            first = min(max(frame - 2, 0), CLIPS[clip].frames - 4)
            shown = [at for _, at, _ in read_pictures(batch.window[row])]
            assert first <= min(shown) <= max(shown) < first + 4
            assert len(set(shown)) == 3
            assert shown[1] == frame
    with pytest.raises(ValueError, match="window_span_frames must be 0 or at least window_frames 5, got 4"):
        ExpressionWindowSettings(window_frames=5, window_span_frames=4)


def test_consecutive_expression_windows_are_centred(root: Path, decoded: list[int]) -> None:
    source = ExpressionWindowSource(
        index_of(root),
        ExpressionWindowSettings(
            window_frames=5, window_from="consecutive", appearance_from="clip", minimum_gap_frames=1
        ),
    )
    for batch in itertools.islice(BatchStream(source, LOADER), 6):
        assert read_pictures(batch.driving) == driving(batch.facts)
        for row, (clip, frame, _) in enumerate(driving(batch.facts)):
            assert read_pictures(batch.window[row]) == [(clip, frame + step, FRAME) for step in range(-2, 3)]
            ((other, appearance, _),) = read_pictures(batch.appearance[row])
            assert other == clip
            assert appearance != frame
            assert torch.equal(batch.mels[row], mel_of(frame))
    assert 6 * 5 * 5 <= len(decoded) <= 6 * 5 * 6  # an appearance within the window is decoded once


def test_expression_windows_can_bring_labels(root: Path) -> None:
    source = ExpressionWindowSource(index_of(root), ExpressionWindowSettings(window_frames=3), labelled=True)
    reader = ShardReader(source.index, READER)
    for batch in itertools.islice(BatchStream(source, LOADER), 4):
        assert batch.expression_labels is not None
        for row, (clip, _, _) in enumerate(driving(batch.facts)):
            frames = [at for _, at, _ in read_pictures(batch.window[row])]
            place, count = (
                source.index.key_column.to_pylist().index(batch.facts.keys[row]),
                CLIPS[clip].frames,
            )
            landmarks = reader.rows(place, "landmarks.npy", (count, 478, 3), 0, count)
            known = measure_expression(landmarks, reader.rows(place, "pose.npy", (count, 6), 0, count))
            expected = np.stack([known.smile, known.brow_raise], axis=1)[frames]
            np.testing.assert_array_equal(batch.expression_labels[row].numpy(), expected)


def test_clip_shorter_than_the_window_is_rejected(root: Path) -> None:
    with pytest.raises(ValueError, match="clip clip-04 has 7 frames, need 9; 1 such clips"):
        ExpressionWindowSource(index_of(root), ExpressionWindowSettings(window_frames=9))
    with pytest.raises(ValueError, match="window_frames must be odd, got 4"):
        ExpressionWindowSettings(window_frames=4)


def test_draw_other_keeps_the_gap() -> None:
    rng = np.random.default_rng(0)
    assert {draw_other(10, 4, 5, rng) for _ in range(50)} == {9}
    assert {draw_other(4, 1, 9, rng) for _ in range(20)} == {3}
    assert {draw_other(3, 1, 1, rng) for _ in range(50)} == {0, 2}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_splits_share_no_identity(root: Path, split: Split) -> None:
    index = index_of(root, split)
    expected = [number for number, clip in enumerate(CLIPS) if clip.split == split]
    assert [NUMBERS[index.key(clip)] for clip in range(len(index))] == expected
    assert [index.identity(clip) for clip in range(len(index))] == [CLIPS[n].identity for n in expected]
    source = LipWindowSource(
        index, LipWindowSettings(from_same_clip=1, from_other_clips=3, minimum_gap_frames=1)
    )
    for batch in itertools.islice(BatchStream(source, LOADER), 4):
        shown = [*read_pictures(batch.frames), *read_pictures(batch.negative_frames)]
        assert {clip for clip, _, _ in shown} <= set(expected)
