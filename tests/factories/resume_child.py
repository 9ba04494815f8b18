"""One process of a toy job, to be started by itself and killed from outside.

Started from a fork server that has imported this file, so that a test does not pay for importing torch once
a process; rank and world come by the variables that torchrun sets.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from typing_extensions import override

from tests.factories import toy_run
from training.engine import checkpoint
from training.jobs.job import TrainingJob
from training.jobs.reporting import Progress, TextReporter
from training.jobs.worker import train

FOREVER_SECONDS = 600.0  # longer than any test waits
NOTES_NAME = "notes.txt"


class PausingReporter(TextReporter):
    """Writes notes beside the work folder; stands still for good once a step is told."""

    def __init__(self, notes: Path, pause_at_step: int) -> None:
        super().__init__(notes.open("a", encoding="utf-8"))
        self._pause_at_step = pause_at_step

    @override
    def progress(self, progress: Progress) -> None:
        super().progress(progress)
        if progress.step == self._pause_at_step:
            time.sleep(FOREVER_SECONDS)


def run(job_file: Path, variables: Mapping[str, str], pause_at_step: int, pause_in_checkpoint: int) -> None:
    """Train a job.

    Args:
        job_file: as `TrainingJob.write` left it.
        variables: RANK, WORLD_SIZE and so on; empty for one process.
        pause_at_step: stand still when this step was told; 0: never.
        pause_in_checkpoint: stand still when the files of this step's checkpoint are written and its
            manifest is not; 0: never.
    """
    os.environ.update(variables)
    toy_run.install()
    if pause_in_checkpoint:
        sha256_of = checkpoint.file_sha256

        def pausing(path: Path) -> str:
            if f"step-{pause_in_checkpoint:08d}" in str(path):
                time.sleep(FOREVER_SECONDS)
            return sha256_of(path)

        checkpoint.file_sha256 = pausing
    job = TrainingJob.read(job_file)
    train(job, PausingReporter(job_file.with_name(NOTES_NAME), pause_at_step))
