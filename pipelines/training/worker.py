"""What each training process of an asset runs: ``python -m pipelines.training.worker JOB.json``.

Rank 0 reports progress and log records through Dagster Pipes; it imports `dagster_pipes`, not Dagster.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from dagster_pipes import PipesContext, open_dagster_pipes

from pipelines.deployed_settings import deployed
from pipelines.logs import log_to
from pipelines.operations.settings import OperationsSettings
from storage.root import open_root
from training.engine.progress import TrainingProgress
from training.jobs.job import TrainingJob
from training.launch.signals import STOPPED_EXIT, die_with_parent
from training.stage_catalog import RENDERING_STAGE

logger = logging.getLogger(__name__)

REPORT_INTERVAL_SECONDS: Final = 1.0  # each report is a line of a file that Dagster follows


class PipesProgress:
    """Sends training progress through Dagster Pipes, at most once a second, and always the last."""

    def __init__(self, pipes: PipesContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._pipes, self._clock = pipes, clock
        self._reported_at: float | None = None

    def __call__(self, progress: TrainingProgress) -> None:
        """Report progress."""
        now, is_last = self._clock(), progress.step >= progress.steps
        due = self._reported_at is None or now - self._reported_at >= REPORT_INTERVAL_SECONDS
        if due or is_last:
            self._reported_at = now
            self._pipes.report_custom_message({"progress": progress.line(), "step": progress.step})


def film_checkpoint(job: TrainingJob, checkpoint: Path) -> None:
    """Add a checkpoint of the stage that renders to its film, if `operations.training_film` is on."""
    if job.stage != RENDERING_STAGE or not deployed(OperationsSettings).training_film:
        return
    from evaluation.film.film import write_film
    from evaluation.film.scenes import add_scene

    try:
        add_scene(open_root(job.root), job, checkpoint)
    except ValueError as error:  # such as a data set without a clip that is long enough
        logger.warning("No scene of the training film: %s", error)
    else:
        write_film(job.work)


def main() -> None:
    """Train a job; rank 0 reports to Dagster, also the error that ends training."""
    die_with_parent()
    job = TrainingJob.read(Path(sys.argv[1]))
    from training.engine.trainer import TrainingStoppedError
    from training.jobs.worker import train

    if os.environ.get("RANK", "0") != "0":
        try:
            train(job)
        except TrainingStoppedError:
            sys.exit(STOPPED_EXIT)
        return
    is_stopped = False
    with open_dagster_pipes() as pipes, log_to(pipes.log.handlers):
        try:
            train(job, PipesProgress(pipes), partial(film_checkpoint, job))
        except TrainingStoppedError as stopped:
            logger.info("%s", stopped)
            pipes.report_custom_message({"stopped": str(stopped)})
            is_stopped = True
    if is_stopped:  # outside: Dagster Pipes would report the exit as an error
        sys.exit(STOPPED_EXIT)


if __name__ == "__main__":
    main()
