"""A clip that fails in a step is recorded, left out of what follows, and ends nothing else."""

from pathlib import Path

import pytest

from preprocessing.labellers import gaze_iris, pose_mean_face
from preprocessing.labellers.failed_clips import FailedClips, read_failed
from preprocessing.labels.gaze import GazeLabelSettings, make_gaze_labels
from preprocessing.labels.lip_sync import LipSyncScoreSettings, make_lip_sync_scores, read_lip_sync
from preprocessing.labels.pose import PoseLabelSettings, make_pose_labels
from preprocessing.labels.tables import GAZE_NAMES, POSE_NAMES, read_labels
from preprocessing.orchestration.checks import check_labels_complete
from tests.factories.preprocessing.published_steps import make_clip, publish_clips


def fail_of(monkeypatch: pytest.MonkeyPatch, module: object, function: str, which: int) -> None:
    """Let a function raise when it is called for the n-th time."""
    original, calls = getattr(module, function), [0]

    def raising(*arguments: object) -> object:
        calls[0] += 1
        if calls[0] == which:
            raise RuntimeError("the fit does not converge")
        return original(*arguments)

    monkeypatch.setattr(module, function, raising)


def test_clips_that_fail_are_left_out_of_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One clip fails in the pose, another one in the gaze; both are missing from the gaze."""
    made = [make_clip(f"video{number}", "a") for number in range(4)]
    clips = publish_clips(tmp_path / "clips", made)
    folders = [tmp_path / name for name in ("pose", "gaze", "sync")]
    for folder in folders:
        folder.mkdir()
    pose, gaze, sync = folders
    fail_of(monkeypatch, pose_mean_face, "label_pose", 2)
    report = make_pose_labels(clips, PoseLabelSettings(), pose)
    assert (report.counts["clips"], dict(report.refusals)) == (3, {"failed": 1})
    assert read_failed(pose) == {made[1].key: "RuntimeError: the fit does not converge"}
    assert sorted(read_labels(pose, POSE_NAMES)) == [made[0].key, made[2].key, made[3].key]
    assert check_labels_complete(clips, pose).passed
    fail_of(monkeypatch, gaze_iris, "label_gaze", 1)
    report = make_gaze_labels(clips, pose, GazeLabelSettings(), gaze)
    assert dict(report.refusals) == {"failed": 2}
    assert sorted(read_failed(gaze)) == [made[0].key, made[1].key]
    assert sorted(read_labels(gaze, GAZE_NAMES)) == [made[2].key, made[3].key]
    assert check_labels_complete(clips, gaze).passed
    assert "failed" not in make_lip_sync_scores(clips, LipSyncScoreSettings(), sync).refusals
    assert len(read_lip_sync(sync)) == 4


def test_one_failure_of_all_clips_is_the_steps(tmp_path: Path) -> None:
    failed = FailedClips("Labelling")
    for number in range(8):
        failed.add(f"clip{number}", RuntimeError(f"clip{number}: no module"))
    with pytest.raises(RuntimeError, match="all 8 clips failed with the same error"):
        failed.finish(tmp_path, 0)
    assert failed.finish(tmp_path, 1) == {"failed": 8}
    with pytest.raises(OSError, match="disk full"):
        failed.add("clip9", OSError("disk full"))


def test_no_failures_write_nothing(tmp_path: Path) -> None:
    assert FailedClips("Labelling").finish(tmp_path, 3) == {}
    assert list(tmp_path.iterdir()) == []
    assert read_failed(tmp_path) == {}
