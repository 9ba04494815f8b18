"""The newest checkpoint of an unfinished stage in a bucket. moto's server plays the store."""

import logging
from pathlib import Path
from unittest import mock

import pytest

from storage.objects import entries
from tests.factories.training import data as data_makers
from tests.factories.training.remote_root import publish_remotely
from tests.factories.training.toy_run import CONFIG, textured_jpeg
from training.engine.checkpoint_copies import COPIES_FOLDER, remove_copies
from training.engine.progress import read_losses
from training.jobs.job import TrainingJob
from training.jobs.worker import train


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
