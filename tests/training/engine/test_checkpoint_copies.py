"""The newest checkpoint of an unfinished stage in a bucket. moto's server plays the store."""

import logging
from pathlib import Path
from unittest import mock

import pytest
import torch
from upath import UPath

from storage.objects import entries
from storage.root import open_root
from tests.factories.storage.builds import files_below
from tests.factories.storage.faulty_store import Fault, FaultyStore, give_up_early
from tests.factories.training import data as data_makers
from tests.factories.training.remote_root import publish_remotely
from tests.factories.training.toy_run import CONFIG, textured_jpeg
from training.engine.checkpoint import CheckpointFacts, RankState, write_checkpoint
from training.engine.checkpoint_copies import (
    COPIES_FOLDER,
    copy_checkpoint,
    remove_copies,
    restore_checkpoint,
)
from training.engine.checkpoint_files import CHECKPOINTS_FOLDER, read_manifest
from training.engine.progress import METRICS_NAME, read_losses
from training.jobs.job import TrainingJob
from training.jobs.worker import train

LOCATION = f"{COPIES_FOLDER}/stage2_pose/run/f00d"


def write_steps(work: Path, *steps: int) -> list[Path]:
    """Checkpoints of one tensor, and metrics."""
    (work / METRICS_NAME).write_text("{}\n")
    rank = RankState({"position": 1}, torch.arange(3), None, {})
    tensors = {"net.weight": torch.ones(2)}
    return [
        write_checkpoint(
            work / CHECKPOINTS_FOLDER,
            CheckpointFacts("stage2_pose", step, 1, {}, 2),
            tensors,
            tensors,
            {},
            [rank],
        )
        for step in steps
    ]


def restored(root: UPath, work: Path) -> list[str]:
    restore_checkpoint(root, LOCATION, work)
    return sorted(path.name for path in (work / CHECKPOINTS_FOLDER).glob("*"))


def test_copy_through_a_faulty_store_is_the_same(bucket: str, store: FaultyStore, tmp_path: Path) -> None:
    root, (checkpoint,) = open_root(bucket), write_steps(tmp_path, 3)
    store.rate, store.unlisted = 0.3, "weights.safetensors"
    copy_checkpoint(root, LOCATION, checkpoint, tmp_path)
    assert restored(root, tmp_path / "other machine") == ["step-00000003"]
    copy = tmp_path / "other machine" / CHECKPOINTS_FOLDER / checkpoint.name
    assert files_below(copy) == files_below(checkpoint)
    assert read_manifest(copy) == read_manifest(checkpoint)
    assert store.injected


def test_copy_to_a_store_that_fails_keeps_the_previous(
    bucket: str, store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up_early(monkeypatch)
    root, (first, second) = open_root(bucket), write_steps(tmp_path, 3, 6)
    copy_checkpoint(root, LOCATION, first, tmp_path)
    store.faults = [Fault("error", "PUT", "step-00000006/manifest.json", times=100)]
    with pytest.raises(Exception, match="500 Internal Server Error"):
        copy_checkpoint(root, LOCATION, second, tmp_path)
    assert restored(root, tmp_path / "other machine") == ["step-00000003"]
    store.faults.clear()
    copy_checkpoint(root, LOCATION, second, tmp_path)
    assert restored(root, tmp_path / "third machine") == ["step-00000006"]


@pytest.mark.slow
@pytest.mark.usefixtures("toy_presets")
def test_other_machine_resumes_from_the_bucket(
    bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mock.patch.object(data_makers, "made_jpeg", textured_jpeg):
        root = publish_remotely(bucket, tmp_path / "made")

    def train_on(machine: str, steps: int) -> Path:
        work = tmp_path / machine / "f00d"
        work.mkdir(parents=True)
        config = CONFIG.replace(steps=steps, workers=0)
        train(TrainingJob(root=str(root), stage="perception", config=config, work=work))
        return work

    location = f"{COPIES_FOLDER}/perception/{CONFIG.run}"
    train_on("first", 4)
    assert [entry.name for entry in entries(root, f"{location}/f00d")] == ["step-00000004"]
    with caplog.at_level(logging.INFO):
        second = train_on("second", 5)
    assert "Starting perception at step 4 of 5, from checkpoint step-00000004" in caplog.text
    assert [record.step for record in read_losses(second)] == [1, 2, 3, 4, 5]
    assert [entry.name for entry in entries(root, f"{location}/f00d")] == ["step-00000005"]
    remove_copies(root, "perception", CONFIG.run)
    assert entries(root, COPIES_FOLDER) == []
