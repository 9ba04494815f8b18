"""The scan before the UI is served, so that *Materialize all* has batches on a fresh root."""

import os
import time
from pathlib import Path

import pytest
from dagster import DagsterInstance
from upath import UPath

from pipelines.preprocessing import first_scan
from pipelines.preprocessing.first_scan import ensure_batches
from preprocessing.sources.stored_catalog import batch_keys, load_catalog
from tests.factories.preprocessing.videos import write_face_video


def settle(path: Path) -> None:
    """Let a file be an hour old."""
    then = time.time() - 3600
    os.utime(path, (then, then))


def test_fresh_root_has_its_batches_before_the_ui(videos: Path, instance: DagsterInstance) -> None:
    assert ensure_batches(instance) == ""
    write_face_video(videos / "a.mp4", 40)
    assert ensure_batches(instance) == ""  # it may still be copied
    settle(videos / "a.mp4")
    (videos / "b.mp4").write_bytes(b"")
    settle(videos / "b.mp4")
    assert ensure_batches(instance) == "videos accepted 1, refused 1, batches 1"
    (key,) = batch_keys(UPath(videos.parent / "root"))
    assert instance.get_dynamic_partitions("batches") == [key]
    with DagsterInstance.ephemeral() as other:  # another home over the same root
        assert ensure_batches(other) == ""
        assert other.get_dynamic_partitions("batches") == [key]


def test_many_videos_are_left_to_the_sensor(
    videos: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_scan, "FILES_AT_MOST", 0)
    (videos / "a.mp4").write_bytes(b"not read")
    settle(videos / "a.mp4")
    assert ensure_batches(instance).startswith("1 new videos, left to the sensor new_videos: launch")
    assert load_catalog(UPath(videos.parent / "root")) is None


def test_missing_folder_is_named_and_the_ui_is_served(videos: Path, instance: DagsterInstance) -> None:
    videos.rmdir()
    assert ensure_batches(instance) == f"not scanned: {videos} is not a folder"
