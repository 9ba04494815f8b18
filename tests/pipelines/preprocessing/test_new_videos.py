"""The sensor new_videos: from a new file to a run of its batch, each requested once."""

import os
import time
from pathlib import Path

import pytest
from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    SensorResult,
    SkipReason,
    build_sensor_context,
)
from dagster._core.test_utils import create_run_for_test

from pipelines.preprocessing.new_videos import new_videos, scan_requests
from preprocessing.sources.unseen import UnseenFiles

UNSEEN = UnseenFiles(settled=2, fresh=1, digest="d1", names=("a.mp4",), unreadable_folders=())


def tick(instance: DagsterInstance) -> list[RunRequest]:
    result = new_videos(build_sensor_context(instance))
    if isinstance(result, SkipReason):
        return []
    assert isinstance(result, SensorResult)
    return list(result.run_requests or [])


def drop(path: Path, *, seconds_ago: float) -> None:
    path.write_bytes(b"not decoded here")
    then = time.time() - seconds_ago
    os.utime(path, (then, then))


def test_settled_file_requests_one_scan(videos: Path, instance: DagsterInstance) -> None:
    assert tick(instance) == []
    drop(videos / "a.mp4", seconds_ago=3600)
    (request,) = tick(instance)
    assert request.job_name == "scan_sources"
    assert tick(instance)[0].run_key == request.run_key


def test_file_being_copied_is_skipped(videos: Path, instance: DagsterInstance) -> None:
    drop(videos / "a.mp4", seconds_ago=0)
    assert tick(instance) == []


def test_no_scan_is_requested_while_one_runs(videos: Path, instance: DagsterInstance) -> None:
    drop(videos / "a.mp4", seconds_ago=3600)
    create_run_for_test(instance, job_name="scan_sources", status=DagsterRunStatus.STARTED)
    assert tick(instance) == []


def test_missing_folder_does_not_stop_the_others(
    videos: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(videos / "a.mp4", seconds_ago=3600)
    monkeypatch.setenv("PDFGC_VIDEOS", f"{videos}:{videos.parent / 'away'}")
    assert [request.job_name for request in tick(instance)] == ["scan_sources"]


def test_new_batches_start_once_and_a_few_at_a_time(videos: Path, instance: DagsterInstance) -> None:
    assert videos.is_dir()
    instance.add_dynamic_partitions("batches", [f"b{number:05d}" for number in range(6)])
    requests = tick(instance)
    assert [request.partition_key for request in requests] == ["b00000", "b00001", "b00002", "b00003"]
    runs = [_started(instance, request) for request in requests]
    assert tick(instance) == []  # the limit is reached
    for run in runs:
        instance.report_run_failed(run, "the disk broke")
    assert [request.partition_key for request in tick(instance)] == ["b00004", "b00005"]


def _started(instance: DagsterInstance, request: RunRequest) -> DagsterRun:
    """The run that the daemon creates from a request."""
    assert request.run_key is not None
    tags = {"dagster/sensor_name": "new_videos", "dagster/run_key": request.run_key}
    tags |= {"dagster/partition": str(request.partition_key)}
    return create_run_for_test(instance, job_name="preprocess", tags=tags, status=DagsterRunStatus.STARTED)


def test_scan_is_requested_again_after_an_hour() -> None:
    keys = [scan_requests(UNSEEN, seconds)[0].run_key for seconds in (0.0, 3599.0, 3600.0)]
    assert keys[0] == keys[1] != keys[2]
    assert scan_requests(UnseenFiles(0, 3, "", (), ()), 0.0) == []


def test_tick_without_work_says_why(
    videos: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(videos / "a.mp4", seconds_ago=0)
    skipped = new_videos(build_sensor_context(instance))
    assert isinstance(skipped, SkipReason)
    assert skipped.skip_message == (
        "0 new files in 1 watched folders, 1 still being copied; 0 batches requested, 0 waiting"
    )
    monkeypatch.delenv("PDFGC_VIDEOS")
    skipped = new_videos(build_sensor_context(instance))
    assert isinstance(skipped, SkipReason)
    assert skipped.skip_message is not None
    assert skipped.skip_message.startswith("no folder is watched: ")
