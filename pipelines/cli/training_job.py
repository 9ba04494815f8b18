"""Training from the command line: the very jobs that stand in the UI, on the same instance."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from dagster import DagsterInstance, JobDefinition
from rich.console import Console
from rich.table import Table
from upath import UPath

from pipelines.cli.main_job import why_failed
from pipelines.definitions import definitions
from pipelines.operations.dead_runs import clear_dead_runs, process_tags
from pipelines.training.record import read_figures
from storage.publishing import current
from storage.root import local_copy, open_root
from training.jobs.config import TrainingChoice
from training.stage_catalog import STAGE_NAMES

ALL: Final = "all"


@dataclass(frozen=True)
class TrainingOrder:
    """What to train."""

    stage: str  # or "all"
    choice: TrainingChoice
    force: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages in their order."""
        return STAGE_NAMES if self.stage == ALL else (self.stage,)


def run_training(order: TrainingOrder, console: Console) -> None:
    """Train, then print the held-out figures.

    Raises:
        RuntimeError: a run failed; its error was logged and stands in the UI.
    """
    resources = {
        "workspace": {"config": {"force": order.force}},
        "training_choice": {"config": {"settings": asdict(order.choice)}},
    }
    with DagsterInstance.get() as instance:
        job = definitions.resolve_job_def(f"train_{order.stage}")
        run_job(
            job,
            instance,
            {"resources": resources, "loggers": {"plain": {"config": {"log_level": "INFO"}}}},
        )
    print_figures(open_root(), order, console)


def run_job(job: JobDefinition, instance: DagsterInstance, run_config: dict[str, Any]) -> None:
    """Run a job in this process, after clearing up behind runs of processes that were killed.

    Raises:
        RuntimeError: it failed; says why.
    """
    clear_dead_runs(instance)
    result = job.execute_in_process(
        instance=instance,
        run_config=run_config,
        tags=process_tags(),
        raise_on_error=False,
    )
    if not result.success:
        raise RuntimeError(f"run {result.run_id} of {job.name} failed. {why_failed(result)}")


def print_figures(root: UPath, order: TrainingOrder, console: Console) -> None:
    """A row a held-out figure of every stage that was trained."""
    table = Table(title=f"Held-out figures of run {order.choice.run}")
    for name in ("stage", "figure", "value", "chance", "beats chance"):
        table.add_column(name, justify="right" if name in ("value", "chance") else "left")
    for stage in order.stages:
        published = current(root, stage, order.choice.run)
        if published is None:
            continue
        for figure in read_figures(local_copy(published.directory)):
            chance = "" if figure.chance is None else f"{figure.chance:.4g}{figure.unit}"
            verdict = {True: "yes", False: "no", None: ""}[figure.beats_chance]
            table.add_row(stage, figure.name, f"{figure.value:.4g}{figure.unit}", chance, verdict)
    console.print(table)
