"""The command `pdfgc train`."""

from typing import TYPE_CHECKING, Final

import click

from pipelines.cli.options import options_from
from training.jobs.config import TrainingConfig
from training.stage_catalog import STAGE_NAMES

if TYPE_CHECKING:
    from rich.console import Console
    from upath import UPath

ALL: Final = "all"


@click.command()
@click.argument("stage", type=click.Choice([*STAGE_NAMES, ALL]))
@options_from(TrainingConfig, "config")
@click.option("--force", is_flag=True, help="Train again, even if the stage is up to date.")
def train(stage: str, config: TrainingConfig, force: bool) -> None:
    """Train a STAGE, or all stages in order.

    An interrupted run resumes from its last checkpoint.
    """
    from rich.console import Console

    run_training(stage, config, Console(), force=force)


def run_training(stage: str, config: TrainingConfig, console: "Console", *, force: bool = False) -> None:
    """Train a stage, or `ALL` of them, and print the held-out metrics.

    Raises:
        JobFailedError: training failed.
    """
    from dagster import DagsterInstance

    from pipelines.operations.dagster_home import ensure_dagster_home
    from pipelines.operations.local_runs import run_job
    from storage.root import open_root

    ensure_dagster_home()
    resources = {
        "workspace": {"config": {"force": force}},
        "training_choice": {"config": {"settings": config.model_dump(mode="json")}},
    }
    with DagsterInstance.get() as instance:
        run_job(f"train_{stage}", instance, resources)
    stages = STAGE_NAMES if stage == ALL else (stage,)
    print_held_out_metrics(open_root(), config.run, stages, console)


def print_held_out_metrics(root: "UPath", run: str, stages: tuple[str, ...], console: "Console") -> None:
    """Print the held-out metrics of the trained stages of a run."""
    from rich.table import Table

    from pipelines.training.record import read_figures
    from storage.publishing import current
    from storage.root import local_copy

    table = Table(title=f"Held-out metrics of run {run}")
    for name in ("stage", "metric", "value", "chance", "beats chance"):
        table.add_column(name, justify="right" if name in ("value", "chance") else "left")
    for stage in stages:
        published = current(root, stage, run)
        if published is None:
            continue
        for metric in read_figures(local_copy(published.directory)):
            chance = "" if metric.chance is None else f"{metric.chance:.4g}{metric.unit}"
            beats = {True: "yes", False: "no", None: ""}[metric.beats_chance]
            table.add_row(stage, metric.name, f"{metric.value:.4g}{metric.unit}", chance, beats)
    console.print(table)
