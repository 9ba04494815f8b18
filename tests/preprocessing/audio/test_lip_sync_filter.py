"""Which clips pass, and how far their sound is moved."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from preprocessing.audio.lip_sync_filter import (
    VERDICTS_TABLE,
    LipSyncFilter,
    LipSyncVerdict,
    ScoredClip,
    judge_lip_sync,
    write_verdicts,
)


def clip(
    key: str, offset: float | None, confidence: float = 5.0, *, video: str = "v", frames: int = 50
) -> ScoredClip:
    score = {} if offset is None else {"confidence": confidence, "offset_frames": offset}
    return ScoredClip(key, video, frames, score)


CLIPS = (
    clip("a", 2.0),
    clip("b", 3.0),
    clip("c", 3.0),
    clip("chance", -14.0, 0.5),
    clip("silent", None),
    clip("other", -9.0, video="w"),
    clip("unsure_video", 1.0, 0.2, video="x"),
)


def test_by_default_every_clip_passes_and_nothing_is_moved() -> None:
    assert set(judge_lip_sync(CLIPS, LipSyncFilter()).values()) == {LipSyncVerdict()}


def test_unsure_and_unscored_clips_are_left_out_and_do_not_move_their_video() -> None:
    verdicts = judge_lip_sync(CLIPS, LipSyncFilter(minimum_confidence=3.0, correct_offset=True))
    assert {key: verdict.refusal for key, verdict in verdicts.items() if verdict.refusal} == {
        "chance": "lip_sync_unsure",
        "silent": "lip_sync_not_scored",
        "unsure_video": "lip_sync_unsure",
    }
    assert [verdicts[key].moved_frames for key in ("a", "b", "c", "other")] == [3, 3, 3, -9]
    assert verdicts["silent"].late_frames == 3
    assert verdicts["unsure_video"].late_frames is None


def test_without_correction_the_offset_is_told_but_not_moved() -> None:
    verdict = judge_lip_sync(CLIPS, LipSyncFilter(minimum_confidence=3.0))["other"]
    assert verdict == LipSyncVerdict("", -9, 0)


def test_a_video_too_far_off_is_left_out_whole_with_or_without_correction() -> None:
    for correct in (False, True):
        settings = LipSyncFilter(minimum_confidence=3.0, correct_offset=correct, maximum_offset_frames=5)
        verdicts = judge_lip_sync(CLIPS, settings)
        assert verdicts["other"] == LipSyncVerdict("lip_sync_far_off", -9)
        assert verdicts["a"].refusal == ""


def test_a_video_whose_clips_do_not_agree_is_left_out_where_its_offset_counts() -> None:
    clips = [clip("a", -7.0), clip("b", 0.0), clip("one", 4.0, video="w"), clip("most", 1.0, video="x")]
    clips += [clip("too", 3.0, video="x"), clip("not", -15.0, video="x")]
    moved = judge_lip_sync(clips, LipSyncFilter(minimum_confidence=3.0, correct_offset=True))
    assert moved["a"] == moved["b"] == LipSyncVerdict("lip_sync_unsettled", -3)
    assert [moved[key].moved_frames for key in ("one", "most", "too", "not")] == [4, 1, 1, 1]
    assert judge_lip_sync(clips, LipSyncFilter(minimum_confidence=3.0))["a"] == LipSyncVerdict("", -3)


def test_a_clip_that_moving_makes_too_short_is_left_out() -> None:
    clips = [clip("short", 4.0, frames=28), clip("just", 4.0, frames=29)]
    verdicts = judge_lip_sync(clips, LipSyncFilter(minimum_confidence=3.0, correct_offset=True))
    assert verdicts["short"] == LipSyncVerdict("lip_sync_too_short", 4)
    assert verdicts["just"] == LipSyncVerdict("", 4, 4)


@pytest.mark.parametrize(("offsets", "late"), [((2.0, 3.0), 2), ((-2.0, -3.0), -2), ((0.0, 1.0), 0)])
def test_between_two_frames_the_smaller_move_is_taken(offsets: tuple[float, float], late: int) -> None:
    clips = [clip("a", offsets[0]), clip("b", offsets[1])]
    assert (
        judge_lip_sync(clips, LipSyncFilter(minimum_confidence=3.0, correct_offset=True))["a"].moved_frames
        == late
    )


def test_an_offset_of_unsure_clips_is_refused() -> None:
    with pytest.raises(ValueError, match=r"correct_offset True .* set minimum_confidence, which is 0, above"):
        LipSyncFilter(correct_offset=True)
    with pytest.raises(ValueError, match=r"maximum_offset_frames 5 go by the offsets of sure clips"):
        LipSyncFilter(maximum_offset_frames=5)
    with pytest.raises(ValueError, match=r"minimum_frames is 1, need 2 to 64"):
        LipSyncFilter(minimum_frames=1)


def test_what_became_of_every_clip_is_kept(tmp_path: Path) -> None:
    verdicts = judge_lip_sync(CLIPS, LipSyncFilter(minimum_confidence=3.0, correct_offset=True))
    write_verdicts(CLIPS, verdicts, tmp_path)
    rows = {row["key"]: row for row in pq.read_table(tmp_path / VERDICTS_TABLE).to_pylist()}
    assert list(rows) == [one.key for one in CLIPS]
    assert rows["a"] == {
        "key": "a",
        "video_id": "v",
        "confidence": 5.0,
        "late_frames": 3,
        "moved_frames": 3,
        "refusal": "",
    }
    assert (rows["silent"]["confidence"], rows["silent"]["refusal"]) == (None, "lip_sync_not_scored")
