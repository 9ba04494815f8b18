"""Real clips of different kinds through the chain. Prints the counts."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from upath import UPath

from preprocessing.archive import Place, read_members
from preprocessing.clips.store import read_clip_table, read_clips
from preprocessing.dataset.packing import read_shard_index
from preprocessing.faces.tracking import FaceTracker, TrackingSettings
from preprocessing.labellers.lip_sync import energy as lip_sync_energy
from preprocessing.labellers.lip_sync import mouth_opening
from preprocessing.orchestration.step import SourceVideo, VideoBatch
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, run_step
from preprocessing.schema import Clip
from preprocessing.shards import decode_sample
from storage.publishing import Published
from storage.root import open_root

pytestmark = [pytest.mark.real, pytest.mark.slow]

# One video each: a small old one, a tall one at 25, one at 22.131 and one at 29.97 frames a second.
PERSONS = ("person-b", "person-ab", "person-y", "person-r", "person-n")


@dataclass(frozen=True)
class Made:
    """What the chain made of the videos."""

    published: Mapping[str, Published]
    clips: tuple[Clip, ...]


def source_video(folder: Path, person: str) -> SourceVideo:
    path = min((folder / "videos" / person).iterdir())
    video_id = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return SourceVideo(video_id, path, path.relative_to(folder / "videos").as_posix(), person)


@pytest.fixture(scope="module")
def made(shared_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    root: UPath = open_root(str(tmp_path_factory.mktemp("real")))
    batch = VideoBatch("batch-0000", tuple(source_video(shared_clips, person) for person in PERSONS))
    published = {name: run_step(root, name, batch, PreprocessingSettings(), workers=0) for name in STEPS}
    return Made(published, tuple(read_clips(local(published["clips"]))))


def local(published: Published) -> Path:
    return Path(str(published.directory))


def test_most_videos_yield_clips_and_every_other_row_has_a_reason(made: Made) -> None:
    counts = made.published["clips"].manifest.counts
    assert counts["videos_with_clips"] >= len(PERSONS) - 1, made.published["clips"].manifest.refusals
    rows = read_clip_table(local(made.published["clips"])).to_pylist()
    assert all(row["accepted"] == (row["reason"] == "") for row in rows)
    assert sum(row["accepted"] for row in rows) == len(made.clips)


def test_every_frame_of_a_clip_is_a_picture_whose_landmarks_lie_in_it(made: Made) -> None:
    for clip in made.clips:
        for jpeg in (clip.frames_jpeg[0], clip.frames_jpeg[-1]):
            assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (224, 224, 3)
        middle = np.median(clip.landmarks_px[..., :2], axis=(0, 1))
        assert (np.abs(middle - 112) < 40).all(), (clip.key, middle)


def test_every_clip_is_a_whole_sample_of_the_shards(made: Made) -> None:
    folder = local(made.published["shards"])
    rows = read_shard_index(folder).to_pylist()
    assert [row["key"] for row in rows] == [clip.key for clip in made.clips]
    for row in rows:
        members = read_members(folder / row["shard"], Place(row["offset_bytes"], row["size_bytes"]))
        sample = decode_sample(row["key"], members)
        assert (sample.clip.frame_count, len(sample.anchors)) == (row["frames"], row["anchors"])


def test_lips_and_sound_stay_together_pooled_over_the_clips(made: Made) -> None:
    curves: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    settings = lip_sync_energy.LipSyncSettings()
    for clip in made.clips:
        opening = mouth_opening.measure_mouth_opening(clip.landmarks_px)
        curve = lip_sync_energy.correlation_by_shift(opening, clip.sound, settings)
        if curve is not None:
            curves[clip.identity].append(curve)
    pooled = np.mean([np.mean(each, axis=0) for each in curves.values()], axis=0)
    offset_frames = int(np.argmax(pooled)) - settings.maximum_shift_frames
    assert abs(offset_frames) <= 2, (offset_frames, pooled.round(2).tolist())


def test_both_of_two_people_are_followed(shared_clips: Path) -> None:
    (path,) = sorted((shared_clips / "stills").glob("two-people*")) or [None]
    if path is None:
        pytest.skip("no still of two people among the real clips")
    picture = np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)
    tracker = FaceTracker(TrackingSettings())
    views = [tracker.step(picture) for _ in range(3)]
    tracker.close()
    assert [sorted(view.track for view in each) for each in views] == [[0, 1]] * 3
