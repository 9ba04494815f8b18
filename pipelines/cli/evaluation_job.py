"""Evaluation from the command line: the very job that stands in the UI, on the same instance."""

from dataclasses import asdict, dataclass, replace
from typing import Final

from dagster import DagsterInstance
from rich.console import Console

from evaluation.config import EvaluationChoice
from evaluation.generation.newest_run import with_run
from evaluation.report.summary import print_report_table
from pipelines.cli.training_job import run_job
from pipelines.definitions import definitions
from pipelines.evaluation.acceptance import NOT_WORSE
from storage.root import open_root
from training.stage_catalog import RENDERING_STAGE

JOB: Final = "evaluate"


@dataclass(frozen=True)
class EvaluationOrder:
    """What to evaluate."""

    choice: EvaluationChoice
    force: bool = False


def run_evaluation(order: EvaluationOrder, console: Console) -> None:
    """Evaluate, then print the report's tables and where its page lies.

    Raises:
        RuntimeError: the run failed, or is worse than the accepted one; its error was logged and stands in
            the UI.
    """
    root = open_root()
    order = replace(order, choice=with_run(root, order.choice, RENDERING_STAGE))
    resources = {
        "workspace": {"config": {"force": order.force}},
        "evaluation_choice": {"config": {"settings": asdict(order.choice)}},
    }
    run_config = {"resources": resources, "loggers": {"plain": {"config": {"log_level": "INFO"}}}}
    worse: RuntimeError | None = None
    with DagsterInstance.get() as instance:
        try:
            run_job(definitions.resolve_job_def(JOB), instance, run_config)
        except RuntimeError as error:
            if NOT_WORSE not in str(error):
                raise
            worse = error  # the report is made, and whoever compares runs wants to read it all the same
    print_report_table(root, order.choice.run, console)
    if worse is not None:
        raise worse
