"""One process of a toy job, to be killed by a test.

Started from a fork server that has imported this file, so that torch is not imported once per process; rank
and world size come from variables.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

# For held-out metrics; once, in the fork server.
import torchmetrics.functional.image  # noqa: F401  # pyright: ignore[reportUnusedImport]

from tests.factories.training import toy_run
from training.engine import checkpoint
from training.engine.progress import TrainingProgress
from training.engine.trainer import TrainingStoppedError
from training.jobs.job import TrainingJob
from training.jobs.worker import train
from training.launch.signals import STOPPED_EXIT

FOREVER_SECONDS = 600.0  # longer than any test waits
LOG_NAME = "log.txt"


def run(
    job_file: Path,
    variables: Mapping[str, str],
    pause_at_step: int,
    pause_in_checkpoint: int,
    terminate_at_step: int,
) -> None:
    """Train a job.

    Args:
        job_file: as `TrainingJob.write` left it.
        variables: RANK, WORLD_SIZE and so on; empty for one process.
        pause_at_step: pause once this step was reported; 0: never.
        pause_in_checkpoint: pause once the files of this step's checkpoint are written, before its manifest;
            0: never.
        terminate_at_step: SIGTERM to this process once this step was reported; 0: never.
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
    logging.basicConfig(level=logging.INFO, filename=job_file.with_name(LOG_NAME), format="%(message)s")

    def pause(progress: TrainingProgress) -> None:
        if progress.step == pause_at_step:
            time.sleep(FOREVER_SECONDS)
        if progress.step == terminate_at_step:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        train(TrainingJob.read(job_file), pause)
    except TrainingStoppedError as stopped:
        logging.getLogger(__name__).info("%s", stopped)
        sys.exit(STOPPED_EXIT)
