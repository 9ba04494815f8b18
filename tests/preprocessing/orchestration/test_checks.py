"""What must hold of a step's files: each check passes on sound files and fails on the damage it is for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preprocessing.clips.store import write_clip_table
from preprocessing.labels.tables import GAZE_SCHEMA, POSE_NAMES, POSE_SCHEMA, write_labels
from preprocessing.orchestration.checks import (
    check_checksums,
    check_clips_left_out,
    check_gaze_in_range,
    check_labels_complete,
    check_pose_in_range,
    check_refused_share,
)
from storage.checks import CheckOutcome
from storage.publishing import BuildReport, Recipe, materialise
from storage.root import open_root


def clip_row(key: str, *, accepted: bool, frames: int = 3) -> dict[str, Any]:
    return {"key": key, "frames": frames, "accepted": accepted, "reason": "" if accepted else "blurred"}


def write_pose(folder: Path, pose: np.ndarray[Any, Any]) -> None:
    columns = {name: pose[:, number].astype(np.float32) for number, name in enumerate(POSE_NAMES)}
    write_labels(folder, POSE_SCHEMA, {"a": columns | {"residual_px": np.zeros(len(pose), np.float32)}})


def write_gaze(folder: Path, gaze: tuple[float, float], blink: tuple[float, float]) -> None:
    one = {
        "pitch_rad": gaze[0],
        "yaw_rad": gaze[1],
        "blink_left": blink[0],
        "blink_right": blink[1],
    }
    columns = {name: np.full(2, value, np.float32) for name, value in one.items()}
    write_labels(folder, GAZE_SCHEMA, {"a": columns | {"valid": np.ones(2, bool)}})


def test_refused_share_fails_above_half(tmp_path: Path) -> None:
    write_clip_table(tmp_path, [clip_row("a", accepted=True), clip_row("b", accepted=False)])
    assert check_refused_share(tmp_path).passed
    write_clip_table(
        tmp_path,
        [clip_row("a", accepted=True), clip_row("b", accepted=False), clip_row("c", accepted=False)],
    )
    outcome = check_refused_share(tmp_path)
    assert not outcome.passed
    assert outcome.values["refused_share"] == pytest.approx(2 / 3)
    assert "67% of 3 candidates" in outcome.description


def test_refused_share_passes_without_candidates(tmp_path: Path) -> None:
    write_clip_table(tmp_path, [])
    assert check_refused_share(tmp_path).passed


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [(0, 1.6, "pitch_rad"), (2, -1.6, "roll_rad"), (4, 61.0, "y_cm"), (1, np.nan, "yaw_rad")],
)
def test_pose_in_range_finds_implausible_poses(tmp_path: Path, column: int, value: float, named: str) -> None:
    pose = np.tile([0.5, -0.5, 1.5, 10.0, -59.0, 59.0], (4, 1))
    write_pose(tmp_path, pose)
    assert check_pose_in_range(tmp_path).passed
    pose[2, column] = value
    write_pose(tmp_path, pose)
    outcome = check_pose_in_range(tmp_path)
    assert not outcome.passed
    assert outcome.description == f"1 of 4 frames out of range in {named}"


@pytest.mark.parametrize(
    ("gaze", "blink", "passed"),
    [
        ((0.5, -1.0), (0.0, 1.0), True),
        ((0.5, -1.1), (0.0, 1.0), False),
        ((0.0, 0.0), (-0.1, 0.5), False),
        ((0.0, 0.0), (0.5, 1.1), False),
    ],
)
def test_gaze_in_range_finds_implausible_gaze_and_blink(
    tmp_path: Path, gaze: tuple[float, float], blink: tuple[float, float], passed: bool
) -> None:
    write_gaze(tmp_path, gaze, blink)
    assert check_gaze_in_range(tmp_path).passed is passed


def test_labels_complete_counts_frames_of_accepted_clips(tmp_path: Path) -> None:
    clips, labels = tmp_path / "clips", tmp_path / "labels"
    clips.mkdir()
    labels.mkdir()
    write_pose(labels, np.zeros((3, 6)))
    write_clip_table(clips, [clip_row("a", accepted=True), clip_row("b", accepted=False)])
    assert check_labels_complete(clips, labels).passed
    write_clip_table(clips, [clip_row("a", accepted=True, frames=4)])
    assert check_labels_complete(clips, labels).description == "3 rows for 4 frames"


def test_checksums_name_a_damaged_file(tmp_path: Path) -> None:
    def build(folder: Path) -> BuildReport:
        (folder / "shard.tar").write_bytes(b"sound")
        return BuildReport(counts={}, refusals={})

    published = materialise(open_root(str(tmp_path)), Recipe("shards", "b0", "1", {}, {}), build)
    assert check_checksums(published).passed
    (Path(str(published.directory)) / "shard.tar").write_bytes(b"Sound")
    outcome = check_checksums(published)
    assert not outcome.passed
    assert outcome.description == "damaged or missing: shard.tar"


def test_dropped_clips_fail_above_half(tmp_path: Path) -> None:
    def outcome_of(samples: int, left_out: int) -> CheckOutcome:
        recipe = Recipe("shards", "b0", "1", {"left_out": left_out}, {})
        report = BuildReport({"samples": samples}, {"lip_sync_low_confidence": left_out} if left_out else {})
        return check_clips_left_out(materialise(open_root(str(tmp_path)), recipe, lambda _: report))

    assert outcome_of(3, 0).passed
    assert outcome_of(2, 2).passed
    assert outcome_of(0, 0).passed
    failed = outcome_of(1, 3)
    assert not failed.passed
    assert failed.description.startswith("75% of 4 clips were dropped (lip_sync_low_confidence 3)")
    assert failed.values == {"refused_share": 0.75, "clips": 4}
