"""Videos that are tracked together have the labels of videos that are tracked one by one."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocessing.archive import Place, read_some_members
from preprocessing.faces.alignment import transform_landmarks
from preprocessing.faces.batched import videos as videos_module
from preprocessing.faces.batched.videos import track_videos
from preprocessing.faces.candidate_tables import read_candidates
from preprocessing.faces.face_tracks import STEP, make_face_tracks
from preprocessing.faces.tracking import TrackingSettings
from preprocessing.faces.video import FaceTrackSettings, Outcome, VideoTask
from preprocessing.labellers.pose_mean_face import label_pose
from preprocessing.media.decoding import DecodeSettings
from preprocessing.process_pool import Crashed
from preprocessing.shards import decode_array
from tests.factories.preprocessing.videos import to_track, write_face_video

TORCH = FaceTrackSettings(tracking=TrackingSettings(mesh="torch", videos_at_once=2))


def landmarks_of(folder: Path) -> list[NDArray[np.float32]]:
    """[T, 478, 3] px of the source, of every candidate."""
    found: list[NDArray[np.float32]] = []
    for row in read_candidates(folder).to_pylist():
        place, names = Place(row["offset_bytes"], row["size_bytes"]), ("landmarks.npy", "transforms.npy")
        members = read_some_members(folder / row["video_id"] / "candidates.tar", place, names)
        landmarks, transforms = (decode_array(row["key"], members, name) for name in names)
        inverse = np.linalg.inv(transforms[:, :, :2])
        to_source = np.concatenate([inverse, -inverse @ transforms[:, :, 2:]], axis=2)
        found.append(transform_landmarks(landmarks, to_source.astype(np.float32)))
    return found


def test_torch_labels_equal_those_of_the_cpu_path(tmp_path: Path) -> None:
    paths = [tmp_path / "one.mp4", tmp_path / "other.mp4"]
    for number, path in enumerate(paths):
        write_face_video(path, 26, mirrored=bool(number))
    videos = [to_track(path) for path in paths]
    tracked: list[list[NDArray[np.float32]]] = []
    for name, settings in (("cpu", FaceTrackSettings()), ("torch", TORCH)):
        (tmp_path / name).mkdir()
        report = make_face_tracks(videos, settings, tmp_path / name, workers=0)
        assert (report.counts["candidates"], report.refusals) == (2, {})
        tracked.append(landmarks_of(tmp_path / name))
    errors_px, errors_degrees = list[NDArray[np.float32]](), list[NDArray[np.float64]]()
    for expected, found in zip(*tracked, strict=True):
        assert found.shape == expected.shape == (26, 478, 3)
        errors_px.append(np.linalg.norm((found - expected)[..., :2], axis=-1).mean(axis=1))
        angles = [np.degrees(label_pose(landmarks).pose[:, :3]) for landmarks in (found, expected)]
        errors_degrees.append(np.abs(angles[0] - angles[1]))
    # Not every frame: a hundredth of a pixel can move the tracker's window by a whole one, and from there on
    # a video differs by what the mesh makes of another window. Which frames that are, the processor decides.
    assert np.median(errors_px) < 0.1
    assert np.median(errors_degrees) < 0.1
    assert np.max(errors_px) < 0.6
    assert all(np.max(errors[:5]) < 0.05 for errors in errors_px)


def test_videos_of_a_dead_process_are_read_one_by_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tasks = [VideoTask(to_track(Path(__file__)), tmp_path, TORCH) for _ in range(3)]
    calls: list[int] = []

    def pool(_: Callable[..., Any], items: Sequence[Any], *_rest: Any) -> Iterator[tuple[Any, Any]]:
        calls.append(len(items))
        for item in items:
            yield item, Outcome("read") if isinstance(item, VideoTask) else Crashed("killed")

    monkeypatch.setattr(videos_module, "map_in_processes", pool)
    outcomes = list(track_videos(tasks, TORCH, workers=2))
    assert calls == [2, 3]  # two groups, then every video
    assert [outcome.summary for _, outcome in outcomes if isinstance(outcome, Outcome)] == ["read"] * 3


def test_where_the_mesh_runs_is_no_part_of_the_recipe() -> None:
    assert STEP.recipe_settings is not None
    recipe = STEP.recipe_settings(FaceTrackSettings())
    elsewhere = FaceTrackSettings(tracking=TrackingSettings(mesh_device="cpu", videos_at_once=3))
    assert STEP.recipe_settings(elsewhere) == recipe
    assert STEP.recipe_settings(TORCH) != recipe
    assert STEP.recipe_settings(FaceTrackSettings(decode=DecodeSettings(hardware="auto"))) != recipe
