"""Videos that could not be read for a reason that may pass are read again, and the others are kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from upath import UPath

from preprocessing.faces import video as video_module
from preprocessing.faces.batched import videos as batched
from preprocessing.faces.face_tracks import STEP
from preprocessing.media.encoding import write_video
from preprocessing.orchestration.step import VideoBatch
from preprocessing.orchestration.steps import PreprocessingSettings, run_step, why_stale
from preprocessing.process_pool import Crashed
from storage.publishing import Published
from tests.factories.preprocessing.videos import source_video, voice

SETTINGS = PreprocessingSettings()


@pytest.fixture
def batch(tmp_path: Path) -> VideoBatch:
    """Two videos of nobody."""
    (tmp_path / "videos").mkdir()
    for name, grey in (("a", 90), ("b", 120)):
        pictures = [np.full((96, 96, 3), grey, np.uint8)] * 30
        write_video(tmp_path / "videos" / f"{name}.mp4", pictures, 25, voice(30), 16_000)
    return VideoBatch("b00000", tuple(source_video(path) for path in sorted((tmp_path / "videos").iterdir())))


@pytest.fixture
def root(tmp_path: Path) -> UPath:
    return UPath(tmp_path / "root")


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the videos that are read."""
    names: list[str] = []
    track = batched.track_video

    def track_and_note(task: Any) -> object:
        names.append(task.video.path.name)
        return track(task)

    monkeypatch.setattr(batched, "track_video", track_and_note)
    return names


def track(root: UPath, batch: VideoBatch, *, force: bool = False, retry: bool = False) -> Published:
    return run_step(root, STEP.name, batch, SETTINGS, force=force, retry=retry, workers=0)


def facts(published: Published, batch: VideoBatch) -> list[dict[str, Any]]:
    paths = [published.directory / video.video_id / "video.json" for video in batch.videos]
    return [json.loads(path.read_text()) for path in sorted(paths, key=str)]


def by_name(published: Published, batch: VideoBatch) -> dict[str, str]:
    names = {video.video_id: video.path.name for video in batch.videos}
    return {names[row["video_id"]]: row["refused"] for row in facts(published, batch)}


def test_deleted_source_is_read_once_it_is_back(root: UPath, batch: VideoBatch, tracked: list[str]) -> None:
    path = Path(str(batch.videos[0].path))
    content = path.read_bytes()
    track(root, batch)
    path.unlink()
    gone = track(root, batch, force=True)
    assert by_name(gone, batch) == {path.name: "source_missing"} | {
        video.path.name: "no_face" for video in batch.videos[1:]
    }
    tracked.clear()
    assert not track(root, batch).built  # still gone
    path.write_bytes(content)
    assert why_stale(root, STEP.name, batch, SETTINGS) == "1 video to try again"
    back = track(root, batch)
    assert set(by_name(back, batch).values()) == {"no_face"}
    assert tracked == []  # the build before is whole


def test_source_that_was_never_there_is_read_alone_later(
    root: UPath, batch: VideoBatch, tracked: list[str]
) -> None:
    path = Path(str(batch.videos[1].path))
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    assert by_name(track(root, batch), batch)[path.name] == "not_a_file"
    path.rmdir()
    path.write_bytes(content)
    tracked.clear()
    back = track(root, batch)
    assert (back.reason, tracked) == ("1 video to try again", [path.name])
    assert set(by_name(back, batch).values()) == {"no_face"}


def test_video_whose_reader_dies_is_tried_in_three_runs(
    root: UPath, batch: VideoBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = batch.videos[0]

    def kill(function: Any, tasks: list[Any], _: int, __: object) -> Iterator[tuple[Any, object]]:
        for task in tasks:
            is_bad = task.video.video_id == bad.video_id
            yield task, Crashed("killed") if is_bad else function(task)

    with monkeypatch.context() as patch:
        patch.setattr(batched, "map_in_processes", kill)
        builds = [track(root, batch) for _ in range(4)]
        assert [build.built for build in builds] == [True, True, True, False]
        (row,) = (row for row in facts(builds[-1], batch) if row["video_id"] == bad.video_id)
        assert (row["refused"], row["attempts"]) == ("reader_crashed", 3)
        (row,) = (
            row for row in facts(track(root, batch, retry=True), batch) if row["video_id"] == bad.video_id
        )
        assert row["attempts"] == 1
    assert set(by_name(track(root, batch), batch).values()) == {"no_face"}
    assert not track(root, batch, retry=True).built


def test_failed_video_waits_for_retry(
    root: UPath, batch: VideoBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = batch.videos[0]
    open_video = video_module.open_video

    def fail_for_one(path: Path, *arguments: Any) -> object:
        if path == bad.path:
            raise IndexError("list index out of range")
        return open_video(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(video_module, "open_video", fail_for_one)
        assert by_name(track(root, batch), batch)[bad.path.name] == "failed"
    assert not track(root, batch).built
    again = track(root, batch, retry=True)
    assert set(by_name(again, batch).values()) == {"no_face"}
