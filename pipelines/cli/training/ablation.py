"""The command `pdfgc ablation`: stage 3 again without L_decor."""

from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from rich.console import Console
    from upath import UPath

    from training.engine.progress import HeldOutMetric

ABLATION_RUN: Final = "no-decorrelation"


@click.command()
@click.option("--run", default="default", show_default=True, help="Trained run whose stage 3 is compared.")
@click.option("--force", is_flag=True, help="Train again, even if it is up to date.")
def ablation(run: str, force: bool) -> None:
    """Train stage 3 of a run again without L_decor and print both side by side.

    The other run is `no-decorrelation`; it starts from the same earlier stages, with the same settings.
    """
    from rich.console import Console

    from pipelines.cli.training.train import run_training
    from pipelines.console import use_one_thread, without_chatter
    from storage.publishing import require_current
    from storage.root import local_copy, open_root
    from training.jobs.job import TrainingJob
    from training.jobs.stage_run import JOB_NAME
    from training.stage_catalog import RENDERING_STAGE

    use_one_thread()
    console, root = Console(), open_root()
    trained = require_current(root, RENDERING_STAGE, run)
    config = TrainingJob.read(local_copy(trained.directory) / JOB_NAME).config
    without = config.replace(run=ABLATION_RUN, parents_run=config.parents_run or run, decorrelation=False)
    with without_chatter():
        run_training(RENDERING_STAGE, without, console, force=force)
        print_ablation(root, (run, ABLATION_RUN), console)


def print_ablation(root: "UPath", runs: tuple[str, str], console: "Console") -> None:
    """Print the held-out metrics of stage 3 with and without L_decor side by side."""
    from rich.table import Table

    with_loss, without = (held_out_metrics(root, run) for run in runs)
    table = Table(title="Stage 3, held out: with and without L_decor")
    for name in ("metric", "with L_decor", "without", "chance"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for name, metric in with_loss.items():
        other = without.get(name)
        table.add_row(
            name,
            f"{metric.value:.4g}{metric.unit}",
            "" if other is None else f"{other.value:.4g}{other.unit}",
            "" if metric.chance is None else f"{metric.chance:.4g}{metric.unit}",
        )
    console.print(table)


def held_out_metrics(root: "UPath", run: str) -> "dict[str, HeldOutMetric]":
    """The held-out metrics of stage 3 of a run by name; empty if it is not trained."""
    from storage.publishing import current
    from storage.root import local_copy
    from training.engine.progress import read_held_out_metrics
    from training.stage_catalog import RENDERING_STAGE

    published = current(root, RENDERING_STAGE, run)
    if published is None:
        return {}
    return {metric.name: metric for metric in read_held_out_metrics(local_copy(published.directory))}
