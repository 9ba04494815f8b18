"""The demo's training: every stage, and stage 3 once more without L_decor, to see what that loss does."""

from typing import Final

from rich.console import Console
from rich.table import Table
from upath import UPath

from pipelines.cli.training_job import ALL, TrainingOrder, run_training
from pipelines.training.record import HeldOutFigure, read_figures
from storage.publishing import current
from storage.root import local_copy, open_root
from training.jobs.config import TrainingChoice

STAGE_3: Final = "stage3_expression"
ABLATION_RUN: Final = "no-decorrelation"


def run_demo_training(console: Console, *, force: bool) -> None:
    """Train all stages of run `default`, then stage 3 without L_decor; print what came of them.

    Raises:
        RuntimeError: a run failed; its error was logged and stands in the UI.
    """
    choice = TrainingChoice()
    console.print("[bold]Training[/bold] every stage, preset tiny_cpu")
    run_training(TrainingOrder(ALL, choice, force), console)
    without = TrainingChoice(run=ABLATION_RUN, parents_run=choice.run, decorrelation=False)
    console.print("[bold]Stage 3 without L_decor[/bold], for comparison")
    run_training(TrainingOrder(STAGE_3, without, force), console)
    print_comparison(open_root(), (choice.run, ABLATION_RUN), console)


def print_comparison(root: UPath, runs: tuple[str, str], console: Console) -> None:
    """Stage 3 with and without L_decor, figure by figure."""
    with_loss, without = (figures_of(root, run) for run in runs)
    table = Table(title="Stage 3, held out: what L_decor does")
    for name in ("figure", "with L_decor", "without", "chance"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for name, figure in with_loss.items():
        other = without.get(name)
        chance = "" if figure.chance is None else f"{figure.chance:.4g}{figure.unit}"
        table.add_row(
            name,
            f"{figure.value:.4g}{figure.unit}",
            "" if other is None else f"{other.value:.4g}{other.unit}",
            chance,
        )
    console.print(table)


def figures_of(root: UPath, run: str) -> dict[str, HeldOutFigure]:
    """Stage 3's held-out figures of a run by name; empty where it is not trained."""
    published = current(root, STAGE_3, run)
    if published is None:
        return {}
    return {figure.name: figure for figure in read_figures(local_copy(published.directory))}
