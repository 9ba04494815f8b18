"""Evaluation from the command line: the very job that stands in the UI, on the same instance."""

from dataclasses import asdict, dataclass
from typing import Final

from dagster import DagsterInstance
from rich.console import Console

from evaluation.choice import EvaluationChoice
from evaluation.report_summary import print_report_table
from pipelines.definitions import definitions
from pipelines.training_job import run_job
from storage.root import open_root

JOB: Final = "evaluate"


@dataclass(frozen=True)
class EvaluationOrder:
    """What to evaluate."""

    choice: EvaluationChoice
    force: bool = False


def run_evaluation(order: EvaluationOrder, console: Console) -> None:
    """Evaluate, then print the report's tables and where its page lies.

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
    print_report_table(open_root(), order.choice.run, console)
