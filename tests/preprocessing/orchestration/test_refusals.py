"""Every refused video, clip and anchor, read from what is published."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from preprocessing.anchors.eye_anchors import ANCHORS_SCHEMA, EyeAnchorSettings
from preprocessing.clips.selection import ClipSettings
from preprocessing.clips.store import CLIPS_SCHEMA
from preprocessing.labellers.failed_clips import FAILED_SCHEMA, FAILED_TABLE
from preprocessing.orchestration.refusals import Refusal, refusals, refusals_of_build
from preprocessing.sources.catalog import CATALOG_SCHEMA
from preprocessing.sources.stored_catalog import save_catalog
from storage.publishing import BuildReport, Published, Recipe, materialise

VIDEO, BATCH = "0123456789abcdef", "b00000-01234567"
KEY = f"{VIDEO}-t00-f0000050"


def catalog_row(path: str, reason: str = "", video: str = VIDEO) -> dict[str, Any]:
    status = "refused" if reason else "accepted"
    return {
        "video_id": video,
        "sha256": video * 4,
        "path": f"/videos/{path}",
        "relative_path": path,
        "root": "/videos",
        "identity": path.split("/", maxsplit=1)[0],
        "size_bytes": 1,
        "modified_ns": 1,
        "present": True,
        "status": status,
        "reason": reason,
        "detail": "no sound stream" if reason else "",
        "batch": None if reason else BATCH,
        "probe_key": "1",
        "reading": "",
    }


def publish(root: UPath, asset: str, settings: Any, write: Callable[[Path], object]) -> Published:
    def build(folder: Path) -> BuildReport:
        write(folder)
        return BuildReport(counts={}, refusals={})

    return materialise(root, Recipe(asset, BATCH, "1", settings, {}), build)


def clip_row(reason: str, score: float, threshold: float | None, frame: int) -> dict[str, Any]:
    return {
        "key": f"{VIDEO}-t00-f{frame:07d}",
        "relative_path": "ann/a.mp4",
        "first_frame": frame,
        "accepted": not reason,
        "reason": reason,
        "score": score,
        "threshold": threshold,
    }


@pytest.fixture
def root(tmp_path: Path) -> UPath:
    root = UPath(tmp_path)
    rows = [catalog_row("ann/a.mp4"), catalog_row("bob/b.mp4", "no_sound", "f" * 16)]
    save_catalog(root, pa.Table.from_pylist(rows, schema=CATALOG_SCHEMA))
    facts = {"video_id": VIDEO, "refused": "no_face", "detail": "no face in 9 frames"}

    def write_facts(folder: Path) -> None:
        (folder / VIDEO).mkdir()
        (folder / VIDEO / "video.json").write_text(json.dumps(facts))

    publish(root, "face_tracks", {}, write_facts)
    clips = [
        clip_row("", 0.0, None, 0),
        clip_row("turned_away", math.radians(70.0), math.radians(60.0), 50),
        clip_row("not_the_main_face", 90.0, None, 100),
    ]
    table = pa.Table.from_pylist(clips, schema=CLIPS_SCHEMA)
    publish(root, "clips", ClipSettings(), lambda folder: pq.write_table(table, folder / "clips.parquet"))
    anchor = {"key": KEY, "base_frame": 5, "accepted": False, "reason": "rest_of_face_moved"}
    anchors = pa.Table.from_pylist([anchor | {"rest_error_px": 2.5}], schema=ANCHORS_SCHEMA)
    publish(
        root,
        "eye_anchors",
        EyeAnchorSettings(),
        lambda folder: pq.write_table(anchors, folder / "anchors.parquet"),
    )
    return root


def test_refusals_have_file_time_score_and_bound(root: UPath) -> None:
    video, tracks, turned, other, anchor = refusals(root)
    assert video == Refusal("source_videos", "", "bob/b.mp4", None, "no_sound", detail="no sound stream")
    assert (tracks.step, tracks.file, tracks.reason) == ("face_tracks", "ann/a.mp4", "no_face")
    assert (turned.file, turned.start_seconds, turned.unit) == ("ann/a.mp4", 2.0, "degrees")
    assert (turned.score, turned.bound) == (pytest.approx(70.0), pytest.approx(60.0))
    assert (other.reason, other.score, other.bound, other.unit) == ("not_the_main_face", 90.0, None, "px")
    assert anchor.start_seconds == pytest.approx(2.2)  # frame 50 + 5
    assert (anchor.score, anchor.bound, anchor.unit) == (2.5, 2.0, "px")


def test_refusals_are_selected_by_step_and_reason(root: UPath) -> None:
    assert [each.reason for each in refusals(root, ["clips"])] == ["turned_away", "not_the_main_face"]
    assert [each.step for each in refusals(root, reason="rest_of_face_moved")] == ["eye_anchors"]
    assert [each.step for each in refusals(root, batches=[BATCH], reason="no_sound")] == []
    with pytest.raises(
        ValueError, match="no step pose; available: source_videos, face_tracks, clips, pose_labels"
    ):
        next(refusals(root, ["pose"]))


def test_refusals_of_a_label_step_are_its_failures(root: UPath) -> None:
    published = publish(root, "gaze_labels", {}, lambda folder: (folder / "x").write_text("x"))
    assert [*refusals_of_build(root, published)] == []
    failed = pa.Table.from_pylist([{"key": KEY, "detail": "ValueError: x"}], schema=FAILED_SCHEMA)
    published = publish(root, "pose_labels", {}, lambda folder: pq.write_table(failed, folder / FAILED_TABLE))
    (only,) = refusals_of_build(root, published)
    assert (only.file, only.start_seconds, only.reason) == ("ann/a.mp4", 2.0, "failed")
    assert (only.score, only.detail) == (None, "ValueError: x")
