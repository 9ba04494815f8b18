"""The scan before the UI is served, so that *Materialize all* has batches on a fresh root."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance
from upath import UPath

from pipelines.preprocessing import first_scan
from pipelines.preprocessing.first_scan import ensure_batches
from preprocessing.sources.stored_catalog import batch_keys, load_catalog
from tests.factories.preprocessing.videos import write_face_video


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("PDFGC_VIDEOS", str(folder))
    return folder


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


def settle(path: Path) -> None:
    """Let a file be an hour old."""
    then = time.time() - 3600
    os.utime(path, (then, then))


def test_fresh_root_has_its_batches_before_the_ui(folder: Path, instance: DagsterInstance) -> None:
    assert ensure_batches(instance) == ""
    write_face_video(folder / "a.mp4", 40)
    assert ensure_batches(instance) == ""  # it may still be copied
    settle(folder / "a.mp4")
    (folder / "b.mp4").write_bytes(b"")
    settle(folder / "b.mp4")
    assert ensure_batches(instance) == "videos accepted 1, refused 1, batches 1"
    (key,) = batch_keys(UPath(folder.parent / "root"))
    assert instance.get_dynamic_partitions("batches") == [key]
    with DagsterInstance.ephemeral() as other:  # another home over the same root
        assert ensure_batches(other) == ""
        assert other.get_dynamic_partitions("batches") == [key]


def test_many_videos_are_left_to_the_sensor(
    folder: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_scan, "FILES_AT_MOST", 0)
    (folder / "a.mp4").write_bytes(b"not read")
    settle(folder / "a.mp4")
    assert ensure_batches(instance).startswith("1 new videos, left to the sensor new_videos: launch")
    assert load_catalog(UPath(folder.parent / "root")) is None


def test_missing_folder_is_named_and_the_ui_is_served(folder: Path, instance: DagsterInstance) -> None:
    folder.rmdir()
    assert ensure_batches(instance) == f"not scanned: {folder} is not a folder"
