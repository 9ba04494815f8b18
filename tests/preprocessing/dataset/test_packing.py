"""What the step `shards` packs, and what it leaves out."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocessing.anchors.eye_anchors import ANCHORS_SCHEMA, ANCHORS_TABLE, ANCHORS_TAR
from preprocessing.archive import ArchiveWriter, Place, read_members
from preprocessing.audio.lip_sync_filter import VERDICTS_TABLE, LipSyncFilter
from preprocessing.audio.mel import mel_rows
from preprocessing.dataset import packing
from preprocessing.dataset.packing import ShardInputs, ShardSettings, make_shards, read_shard_index
from preprocessing.labellers.failed_clips import FailedClips, read_failed
from preprocessing.labels.gaze import GazeLabelSettings, make_gaze_labels
from preprocessing.labels.lip_sync import SCORES_SCHEMA, SCORES_TABLE
from preprocessing.labels.pose import PoseLabelSettings, make_pose_labels
from preprocessing.labels.tables import POSE_NAMES, POSE_SCHEMA, read_labels, write_labels
from preprocessing.orchestration.steps import STEPS
from preprocessing.schema import Clip, ClipSample
from preprocessing.shards import decode_sample
from storage.publishing import BuildReport
from tests.factories.preprocessing.backends import made_clip, noise, write_clips

FRAMES = 30
CLIPS = tuple(made_clip(key, noise(FRAMES, seed)) for seed, key in enumerate(("a", "b", "c")))
SCORES = {
    "a": {"confidence": 4.0, "offset_frames": 3.0},
    "b": {"confidence": 1.0, "offset_frames": -12.0},
    "c": {"confidence": None, "offset_frames": None},
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ShardInputs:
    """Three clips of a video; labels by the default labellers, scores as above, an anchor on a's frame 28."""
    root = tmp_path_factory.mktemp("steps")
    folders = ShardInputs(*(root / name for name in STEPS["shards"].upstream))
    for folder in (folders.pose_labels, folders.gaze_labels, folders.lip_sync_scores, folders.eye_anchors):
        folder.mkdir()
    write_clips(folders.clips, CLIPS)
    make_pose_labels(folders.clips, PoseLabelSettings(), folders.pose_labels)
    make_gaze_labels(folders.clips, folders.pose_labels, GazeLabelSettings(), folders.gaze_labels)
    rows = [
        {"key": key, "video_id": "0" * 16, "scorer": "by hand", **score, "correlation": None}
        for key, score in SCORES.items()
    ]
    pq.write_table(pa.Table.from_pylist(rows, SCORES_SCHEMA), folders.lip_sync_scores / SCORES_TABLE)
    write_anchors(folders.eye_anchors, base_frames=(4, 28))
    return folders


def write_anchors(folder: Path, base_frames: tuple[int, ...]) -> None:
    writer = ArchiveWriter(folder / ANCHORS_TAR)
    rows: list[dict[str, Any]] = []
    for number in base_frames:
        place = writer.write(f"a-{number}", {"jpg": CLIPS[0].frames_jpeg[number]})
        rows.append(
            {
                "key": "a",
                "base_frame": number,
                "eyes_key": "b",
                "eyes_frame": 2,
                "eyes_identity": "ann",
                "accepted": True,
                "reason": "",
                "gaze_error_rad": 0.1,
                "blink_error": 0.1,
                "rest_error_px": 0.5,
                "offset_bytes": place.offset_bytes,
                "size_bytes": place.size_bytes,
            }
        )
    writer.close()
    pq.write_table(pa.Table.from_pylist(rows, ANCHORS_SCHEMA), folder / ANCHORS_TABLE)


def packed(
    inputs: ShardInputs, folder: Path, lip_sync: LipSyncFilter
) -> tuple[BuildReport, dict[str, ClipSample]]:
    report = make_shards("b", inputs, {"pose": "p 1"}, ShardSettings(lip_sync=lip_sync), folder)
    samples = {}
    for row in read_shard_index(folder).to_pylist():
        place = Place(row["offset_bytes"], row["size_bytes"])
        samples[row["key"]] = decode_sample(row["key"], read_members(folder / row["shard"], place))
        assert row["frames"] == samples[row["key"]].clip.frame_count
    return report, samples


def assert_same_sound(sample: ClipSample, clip: Clip, offset_frames: int) -> None:
    wanted = clip.sound[offset_frames * 640 :]
    np.testing.assert_array_equal(sample.clip.sound, wanted)
    video_sound = clip.video_sound.around(clip.sound)
    first = 4 * (4 + offset_frames) - 8
    rows = mel_rows(video_sound, first, first + 4 * len(wanted) // 640 + 16, clip.video_sound.loudness)
    np.testing.assert_array_equal(sample.mel, rows)


def test_every_clip_is_a_sample_by_default(inputs: ShardInputs, tmp_path: Path) -> None:
    report, samples = packed(inputs, tmp_path, LipSyncFilter())
    assert list(samples) == ["a", "b", "c"]
    assert (report.counts["frames"], report.counts["anchors"], report.refusals) == (90, 2, {})
    assert_same_sound(samples["a"], CLIPS[0], 0)
    assert samples["c"].labels.lip_sync == {}
    assert not (tmp_path / VERDICTS_TABLE).exists()


def test_clip_that_fails_is_left_out_and_recorded(
    inputs: ShardInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failed in the labels, one fails when it is packed."""
    gaze = tmp_path / "gaze"
    shutil.copytree(inputs.gaze_labels, gaze)
    failed = FailedClips("Labelling")
    failed.add("b", RuntimeError("no fit"))
    failed.finish(gaze, 2)
    original = packing.encode_sample

    def encode(sample: ClipSample) -> Mapping[str, bytes]:
        if sample.clip.key == "c":
            raise RuntimeError("not encoded")
        return original(sample)

    monkeypatch.setattr(packing, "encode_sample", encode)
    folder = tmp_path / "shards"
    folder.mkdir()
    report, samples = packed(dataclasses.replace(inputs, gaze_labels=gaze), folder, LipSyncFilter())
    assert list(samples) == ["a"]
    assert dict(report.refusals) == {"failed": 2}
    assert read_failed(folder) == {"b": "RuntimeError: no fit", "c": "RuntimeError: not encoded"}


def test_labels_that_are_missing_without_a_failure_are_an_error(inputs: ShardInputs, tmp_path: Path) -> None:
    pose = tmp_path / "pose"
    pose.mkdir()
    labels = {"a": read_labels(inputs.pose_labels, POSE_NAMES)["a"]}
    columns = dict(zip(POSE_NAMES, labels["a"].T, strict=True))
    write_labels(pose, POSE_SCHEMA, {"a": columns | {"residual_px": np.zeros(30, np.float32)}})
    with pytest.raises(ValueError, match="pose_labels has no labels of clip b; build pose_labels again"):
        packed(dataclasses.replace(inputs, pose_labels=pose), tmp_path, LipSyncFilter())


def test_clips_of_low_confidence_are_dropped(inputs: ShardInputs, tmp_path: Path) -> None:
    report, samples = packed(inputs, tmp_path, LipSyncFilter(minimum_confidence=3.0))
    assert list(samples) == ["a"]
    assert_same_sound(samples["a"], CLIPS[0], 0)
    assert report.refusals == {"lip_sync_low_confidence": 1, "lip_sync_not_scored": 1}
    assert report.counts["samples"] == 1
    assert report.counts["samples_with_shifted_sound"] == 0
    kept = pq.read_table(tmp_path / VERDICTS_TABLE)["refusal"].to_pylist()
    assert kept == ["", "lip_sync_low_confidence", "lip_sync_not_scored"]


def test_corrected_samples_have_shifted_sound(inputs: ShardInputs, tmp_path: Path) -> None:
    report, samples = packed(inputs, tmp_path, LipSyncFilter(minimum_confidence=3.0, correct_offset=True))
    sample = samples["a"]
    assert sample.clip.frames_jpeg == CLIPS[0].frames_jpeg[:27]
    assert_same_sound(sample, CLIPS[0], 3)
    assert sample.labels.lip_sync == {"confidence": 4.0, "offset_frames": 0.0, "sound_shift_frames": 3.0}
    assert [anchor.base_frame for anchor in sample.anchors] == [4]
    assert report.counts["samples_with_shifted_sound"] == 1


def test_shard_bytes_are_reproducible(inputs: ShardInputs, tmp_path: Path) -> None:
    for name in "12":
        (tmp_path / name).mkdir()
        packed(inputs, tmp_path / name, LipSyncFilter(minimum_confidence=3.0, correct_offset=True))
    for file in (tmp_path / "1").iterdir():
        assert (tmp_path / "2" / file.name).read_bytes() == file.read_bytes()


def test_settings_of_an_inactive_filter_decide_nothing() -> None:
    inactive = ShardSettings(lip_sync=LipSyncFilter(minimum_frames=30))
    active = ShardSettings(lip_sync=LipSyncFilter(minimum_confidence=3.0))
    default, same, other = map(STEPS["shards"].deciding_settings, (ShardSettings(), inactive, active))
    assert default == same == {"maximum_shard_mebibytes": 256}
    assert other != default
