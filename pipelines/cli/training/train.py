"""The command `pdfgc train`."""

from typing import TYPE_CHECKING, Final

import click

from pipelines.options import options_from
from training.jobs.config import TrainingConfig
from training.stage_catalog import STAGE_NAMES, stage_info

if TYPE_CHECKING:
    from rich.console import Console
    from upath import UPath

ALL: Final = "all"


@click.command(epilog=f"Stages: {', '.join(STAGE_NAMES)}, {ALL}.")
@click.argument("stage", type=click.Choice([*STAGE_NAMES, ALL]), metavar="STAGE")
@options_from(TrainingConfig, "config")
@click.option("--force", is_flag=True, help="Train again, even if the stage is up to date.")
def train(stage: str, config: TrainingConfig, force: bool) -> None:
    """Train a STAGE, or all stages in order.

    An interrupted run resumes from its last checkpoint.
    """
    from rich.console import Console

    run_training(stage, config, Console(), force=force)


def run_training(
    stage: str,
    config: TrainingConfig,
    console: "Console",
    *,
    force: bool = False,
    with_metrics: bool = True,
) -> None:
    """Train a stage, or `ALL` of them, and print the held-out metrics unless `with_metrics` is False.

    The run becomes a partition of the training assets.

    Raises:
        ValueError: a stage that this one starts from is not trained; lists the runs that have it.
        JobFailedError: training failed.
    """
    from dagster import DagsterInstance

    from pipelines.forms import in_groups
    from pipelines.operations.instance import ensure_dagster_home
    from pipelines.operations.runs.local_runs import run_job
    from pipelines.partitions import add_training_run
    from storage.publishing import require_current
    from storage.root import open_root

    ensure_dagster_home()
    resources = {
        "workspace": {"config": {"force": force}},
        "training_config": {
            "config": in_groups(TrainingConfig, config.model_dump(mode="json", exclude={"run"}))
        },
    }
    root = open_root()
    stages = STAGE_NAMES if stage == ALL else (stage,)
    for parent in {parent for name in stages for parent in stage_info(name).parents} - set(stages):
        require_current(root, parent, config.parents_run or config.run)
    with DagsterInstance.get() as instance:
        add_training_run(instance, config.run)
        run_job(f"train_{stage}", instance, resources, partition_key=config.run)
    if with_metrics:
        print_held_out_metrics(root, config.run, stages, console)


def print_held_out_metrics(root: "UPath", run: str, stages: tuple[str, ...], console: "Console") -> None:
    """Print the held-out metrics of the trained stages of a run."""
    from rich.table import Table

    from storage.publishing import current
    from storage.root import local_copy
    from training.engine.progress import read_held_out_metrics

    table = Table(title=f"Held-out metrics of run {run}")
    for name in ("stage", "metric", "value", "chance", "beats chance"):
        table.add_column(name, justify="right" if name in ("value", "chance") else "left")
    for stage in stages:
        published = current(root, stage, run)
        if published is None:
            continue
        for metric in read_held_out_metrics(local_copy(published.directory)):
            chance = "" if metric.chance is None else f"{metric.chance:.4g}{metric.unit}"
            beats = {True: "yes", False: "no", None: ""}[metric.beats_chance]
            table.add_row(stage, metric.name, f"{metric.value:.4g}{metric.unit}", chance, beats)
    console.print(table)
