"""A real video whose sound is known to come late: the shards put it right."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from preprocessing.archive import Place, read_members
from preprocessing.audio.lip_sync_filter import LipSyncFilter
from preprocessing.dataset.packing import ShardSettings, read_shard_index
from preprocessing.labellers.lip_sync import energy as lip_sync_energy
from preprocessing.labellers.lip_sync import mouth_opening
from preprocessing.orchestration.step import SourceVideo, VideoBatch
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, run_step
from preprocessing.schema import ClipSample
from preprocessing.shards import decode_sample
from storage.root import open_root

pytestmark = [pytest.mark.real, pytest.mark.slow]

SETTINGS = PreprocessingSettings(
    shards=ShardSettings(lip_sync=LipSyncFilter(minimum_confidence=0.2, correct_offset=True))
)


@pytest.fixture(scope="module")
def samples(shared_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> list[ClipSample]:
    """Of 20 s of one person, the sound of which is listed as out of step; the default scorer looks at it."""
    path = min((shared_clips / "videos" / "person-af").iterdir())
    video_id = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    batch = VideoBatch("batch-0000", (SourceVideo(video_id, path, path.name, "person-af"),))
    root = open_root(str(tmp_path_factory.mktemp("late")))
    made = [run_step(root, name, batch, SETTINGS, workers=0) for name in STEPS][-1]
    folder = Path(str(made.directory))
    assert made.manifest.counts["samples_with_shifted_sound"] == made.manifest.counts["samples"]
    return [
        decode_sample(
            row["key"],
            read_members(folder / row["shard"], Place(row["offset_bytes"], row["size_bytes"])),
        )
        for row in read_shard_index(folder).to_pylist()
    ]


def offset_of(sample: ClipSample) -> float:
    """Of the sample as it is packed, scored anew."""
    opening = mouth_opening.measure_mouth_opening(sample.clip.landmarks_px)
    return lip_sync_energy.score_lip_sync(opening, sample.clip.sound)["offset_frames"]


def test_what_came_late_is_in_step_when_scored_anew(samples: list[ClipSample]) -> None:
    moved = {sample.labels.lip_sync["sound_shift_frames"] for sample in samples}
    assert len(samples) >= 5
    assert len(moved) == 1  # by as much in every clip of a file
    assert moved.pop() >= 2
    assert abs(float(np.median([offset_of(sample) for sample in samples]))) <= 1.0


def test_a_moved_sample_is_shorter_by_the_move(samples: list[ClipSample]) -> None:
    for sample in samples[:-1]:  # the last clip of a video is of any length
        assert sample.clip.frame_count == 64 - sample.labels.lip_sync["sound_shift_frames"]
