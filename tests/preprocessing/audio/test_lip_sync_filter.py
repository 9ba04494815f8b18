"""Verdicts of the lip sync filter, and clips whose sound is shifted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from preprocessing.audio.lip_sync_filter import (
    VERDICTS_TABLE,
    LipSyncFilter,
    LipSyncVerdict,
    ScoredClip,
    frames_with_sound,
    judge_lip_sync,
    shift_anchors,
    shift_clip,
    shift_labels,
    write_verdicts,
)
from preprocessing.schema import ClipSample
from tests.factories.preprocessing.clips import random_clip, random_sample


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
    clip("low_confidence_video", 1.0, 0.2, video="x"),
)


def test_filter_is_inactive_by_default() -> None:
    assert set(judge_lip_sync(CLIPS, LipSyncFilter()).values()) == {LipSyncVerdict()}


def test_clips_of_low_confidence_are_dropped_and_ignored() -> None:
    verdicts = judge_lip_sync(CLIPS, LipSyncFilter(minimum_confidence=3.0, correct_offset=True))
    assert {key: verdict.refusal for key, verdict in verdicts.items() if verdict.refusal} == {
        "chance": "lip_sync_low_confidence",
        "silent": "lip_sync_not_scored",
        "low_confidence_video": "lip_sync_low_confidence",
    }
    assert [verdicts[key].shift_frames for key in ("a", "b", "c", "other")] == [3, 3, 3, -9]
    assert verdicts["silent"].offset_frames == 3
    assert verdicts["low_confidence_video"].offset_frames is None


def test_offset_is_recorded_without_correction() -> None:
    verdict = judge_lip_sync(CLIPS, LipSyncFilter(minimum_confidence=3.0))["other"]
    assert verdict == LipSyncVerdict("", -9, 0)


def test_video_with_a_large_offset_is_dropped() -> None:
    for correct in (False, True):
        settings = LipSyncFilter(minimum_confidence=3.0, correct_offset=correct, maximum_offset_frames=5)
        verdicts = judge_lip_sync(CLIPS, settings)
        assert verdicts["other"] == LipSyncVerdict("lip_sync_offset_too_large", -9)
        assert verdicts["a"].refusal == ""


def test_video_of_inconsistent_offsets_is_dropped() -> None:
    clips = [clip("a", -7.0), clip("b", 0.0), clip("one", 4.0, video="w"), clip("most", 1.0, video="x")]
    clips += [clip("too", 3.0, video="x"), clip("not", -15.0, video="x")]
    shifted = judge_lip_sync(clips, LipSyncFilter(minimum_confidence=3.0, correct_offset=True))
    assert shifted["a"] == shifted["b"] == LipSyncVerdict("lip_sync_inconsistent_offset", -3)
    assert [shifted[key].shift_frames for key in ("one", "most", "too", "not")] == [4, 1, 1, 1]
    assert judge_lip_sync(clips, LipSyncFilter(minimum_confidence=3.0))["a"] == LipSyncVerdict("", -3)


def test_clip_too_short_after_the_shift_is_dropped() -> None:
    clips = [clip("short", 4.0, frames=28), clip("just", 4.0, frames=29)]
    verdicts = judge_lip_sync(clips, LipSyncFilter(minimum_confidence=3.0, correct_offset=True))
    assert verdicts["short"] == LipSyncVerdict("lip_sync_too_short", 4)
    assert verdicts["just"] == LipSyncVerdict("", 4, 4)


@pytest.mark.parametrize(("offsets", "offset_frames"), [((2.0, 3.0), 2), ((-2.0, -3.0), -2), ((0.0, 1.0), 0)])
def test_offset_is_rounded_towards_zero(offsets: tuple[float, float], offset_frames: int) -> None:
    clips = [clip("a", offsets[0]), clip("b", offsets[1])]
    assert (
        judge_lip_sync(clips, LipSyncFilter(minimum_confidence=3.0, correct_offset=True))["a"].shift_frames
        == offset_frames
    )


def test_settings_refuse_offsets_without_a_confidence() -> None:
    with pytest.raises(ValueError, match=r"correct_offset True .* set minimum_confidence, which is 0, above"):
        LipSyncFilter(correct_offset=True)
    with pytest.raises(ValueError, match=r"maximum_offset_frames 5 use the offsets of confident clips"):
        LipSyncFilter(maximum_offset_frames=5)
    with pytest.raises(ValueError, match=r"minimum_frames must be >= 2, got 1"):
        LipSyncFilter(minimum_frames=1)


def test_write_verdicts_writes_every_clip(tmp_path: Path) -> None:
    verdicts = judge_lip_sync(CLIPS, LipSyncFilter(minimum_confidence=3.0, correct_offset=True))
    write_verdicts(CLIPS, verdicts, tmp_path)
    rows = {row["key"]: row for row in pq.read_table(tmp_path / VERDICTS_TABLE).to_pylist()}
    assert list(rows) == [clip.key for clip in CLIPS]
    assert rows["a"] == {
        "key": "a",
        "video_id": "v",
        "confidence": 5.0,
        "offset_frames": 3,
        "shift_frames": 3,
        "refusal": "",
    }
    assert (rows["silent"]["confidence"], rows["silent"]["refusal"]) == (None, "lip_sync_not_scored")


def test_frames_with_sound_of_late_and_early_sound() -> None:
    assert frames_with_sound(10, 3) == range(7)
    assert frames_with_sound(10, -3) == range(3, 10)
    assert frames_with_sound(10, 0) == range(10)
    assert len(frames_with_sound(3, 4)) == 0


@pytest.mark.parametrize("offset_frames", [2, -2])
def test_shift_clip_pairs_pictures_with_their_sound(offset_frames: int) -> None:
    clip = random_clip(5)
    numbers = np.repeat(np.arange(5), 640) / 10  # of frame t, t / 10
    clip = replace(clip, sound=numbers.astype(np.float32))
    shifted = shift_clip(clip, offset_frames)
    first = 0 if offset_frames > 0 else 2
    assert shifted.frames_jpeg == clip.frames_jpeg[first : first + 3]
    sound_of_frames = np.round(shifted.sound.reshape(3, 640) * 10)
    np.testing.assert_array_equal(
        sound_of_frames, np.broadcast_to(np.arange(first, first + 3)[:, None] + offset_frames, (3, 640))
    )
    video = clip.video_sound.around(clip.sound)
    start = (first + offset_frames) * 640
    np.testing.assert_array_equal(shifted.video_sound.around(shifted.sound), video[start : start + 9 * 640])
    np.testing.assert_array_equal(shifted.landmarks_px, clip.landmarks_px[first : first + 3])
    np.testing.assert_array_equal(
        shifted.source.crop_transforms, clip.source.crop_transforms[first : first + 3]
    )
    assert (shifted.key, shifted.source.first_frame) == (clip.key, 50 + first)


def test_shift_clip_refuses_an_empty_clip() -> None:
    with pytest.raises(ValueError, match=r"cannot shift the sound of 3 frames by -3$"):
        shift_clip(random_clip(3), -3)


def test_shift_labels_records_shift_and_remaining_offset() -> None:
    sample = random_sample(5)
    labels = replace(sample.labels, blendshapes=np.full((5, 52), 0.5, np.float32))
    shifted = shift_labels(labels, -3)
    assert shifted.lip_sync == {
        "confidence": 0.25,
        "offset_frames": 1.0,
        "correlation": 0.5,
        "sound_shift_frames": -3.0,
    }
    assert shifted.coefficients is not None
    assert shifted.blendshapes is not None
    for name in ("pose", "gaze", "blink", "coefficients", "blendshapes"):
        np.testing.assert_array_equal(getattr(shifted, name), getattr(labels, name)[3:])


def test_shift_anchors_keeps_anchors_of_kept_frames() -> None:
    sample = random_sample(5, anchors=5)  # on frames 0 to 4
    assert [anchor.base_frame for anchor in shift_anchors(sample.anchors, 5, -2)] == [0, 1, 2]
    assert [anchor.composite_jpeg for anchor in shift_anchors(sample.anchors, 5, -2)] == [
        anchor.composite_jpeg for anchor in sample.anchors[2:]
    ]
    assert [anchor.base_frame for anchor in shift_anchors(sample.anchors, 5, 2)] == [0, 1, 2]


def test_shifted_parts_form_a_valid_sample() -> None:
    sample = random_sample(5, anchors=5)
    shifted = ClipSample(
        shift_clip(sample.clip, 1),
        shift_labels(sample.labels, 1),
        np.zeros((4 * 4 + 16, 80), np.float32),
        shift_anchors(sample.anchors, 5, 1),
    )
    assert (shifted.clip.frame_count, len(shifted.anchors)) == (4, 4)
