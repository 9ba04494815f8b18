"""Evaluation from the command line: the very job that stands in the UI, on the same instance."""

from dataclasses import asdict, dataclass
from typing import Final

from dagster import DagsterInstance
from rich.console import Console
from upath import UPath

from evaluation.choice import EvaluationChoice
from evaluation.control_evaluation import CONTROL_EVALUATION
from evaluation.figures import FIGURES_TABLE, read_figures
from evaluation.lip_sync_evaluation import LIP_SYNC_EVALUATION
from evaluation.quality_evaluation import QUALITY_EVALUATION
from pipelines.definitions import definitions
from pipelines.training_job import run_job
from storage.publishing import current
from storage.root import local_copy, open_root

JOB: Final = "evaluate"


@dataclass(frozen=True)
class EvaluationOrder:
    """What to evaluate."""

    choice: EvaluationChoice
    force: bool = False


def run_evaluation(order: EvaluationOrder, console: Console) -> None:
    """Evaluate, then print the tables.

    Raises:
        RuntimeError: the run failed; its error was logged and stands in the UI.
    """
    resources = {
        "workspace": {"config": {"force": order.force}},
        "evaluation_choice": {"config": {"settings": asdict(order.choice)}},
    }
    run_config = {"resources": resources, "loggers": {"plain": {"config": {"log_level": "INFO"}}}}
    with DagsterInstance.get() as instance:
        run_job(definitions.resolve_job_def(JOB), instance, run_config)
    print_evaluation(open_root(), order.choice.run, console)


def print_evaluation(root: UPath, run: str, console: Console) -> None:
    """The tables of what was measured."""
    from evaluation.report_summary import print_tables

    for name in (CONTROL_EVALUATION, LIP_SYNC_EVALUATION, QUALITY_EVALUATION):
        published = current(root, name, run)
        if published is not None:
            print_tables(read_figures(local_copy(published.directory) / FIGURES_TABLE), console)
