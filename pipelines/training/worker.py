"""The training worker that torchrun runs: ``python -m pipelines.training.worker JOB.json``.

Rank 0 reports through Dagster Pipes. Of Dagster only the small package `dagster_pipes` is imported.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from dagster_pipes import PipesContext, open_dagster_pipes
from typing_extensions import override

from pipelines.logs import log_to
from training.jobs.job import TrainingJob
from training.jobs.reporting import FigureLike, Progress, Reporter, TextReporter
from training.launch.orphans import die_with_parent

REPORT_INTERVAL_SECONDS: Final = 1.0  # each report is a line of a file that Dagster follows


class PipesReporter(Reporter):
    """Lines and progress through Dagster Pipes. Pictures lie in the job's folder."""

    def __init__(self, pipes: PipesContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._pipes, self._clock = pipes, clock
        self._reported_at: float | None = None

    @override
    def note(self, text: str) -> None:
        self._pipes.log.info("%s", text)

    @override
    def progress(self, progress: Progress) -> None:
        now, is_last = self._clock(), progress.step >= progress.steps
        if (
            self._reported_at is not None
            and now - self._reported_at < REPORT_INTERVAL_SECONDS
            and not is_last
        ):
            return
        self._reported_at = now
        self._pipes.report_custom_message({"progress": progress.line(), "step": progress.step})

    @override
    def picture(self, step: int, jpeg: bytes) -> None:
        del jpeg
        self._pipes.report_custom_message({"picture": step, "step": step})

    @override
    def figures(self, step: int, figures: Sequence[FigureLike]) -> None:
        told = [
            f"{figure.name} {figure.value:.4g}{figure.unit}"
            + ("" if figure.chance is None else f" (chance {figure.chance:.4g})")
            for figure in figures
        ]
        self.note(f"step {step}, held out: {', '.join(told)}")


def main() -> None:
    """Train a job; rank 0 reports to Dagster, also the error that ends training."""
    die_with_parent()
    job = TrainingJob.read(Path(sys.argv[1]))
    from training.jobs.worker import train

    if os.environ.get("RANK", "0") != "0":
        train(job, TextReporter())
        return
    with open_dagster_pipes() as pipes, log_to(pipes.log.handlers):
        train(job, PipesReporter(pipes))


if __name__ == "__main__":
    main()
