"""The command `pdfgc evaluate`."""

from typing import TYPE_CHECKING

import click

from evaluation.config import EvaluationConfig
from pipelines.cli.options import options_from

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@options_from(EvaluationConfig, "config")
@click.option("--force", is_flag=True, help="Rebuild everything, even what is up to date.")
def evaluate(config: EvaluationConfig, force: bool) -> None:
    """Measure lip sync, control and quality of a run."""
    from rich.console import Console

    from pipelines.one_thread import use_one_thread

    use_one_thread()
    from pipelines.cli.console import without_chatter

    with without_chatter():
        run_evaluation(config, Console(), force=force)


def run_evaluation(config: EvaluationConfig, console: "Console", *, force: bool = False) -> None:
    """Evaluate a run; print the report's tables and the path of its page.

    Raises:
        ValueError: there is no such run.
        JobFailedError: the evaluation failed, or the run is worse than the baseline run.
    """
    from dagster import DagsterInstance

    from evaluation.generation.newest_run import with_run
    from evaluation.report.summary import print_report_table
    from pipelines.evaluation.baseline_run import NO_REGRESSION
    from pipelines.operations.dagster_home import ensure_dagster_home
    from pipelines.operations.local_runs import JobFailedError, run_job
    from storage.root import open_root
    from training.stage_catalog import RENDERING_STAGE

    ensure_dagster_home()
    root = open_root()
    config = with_run(root, config, RENDERING_STAGE)
    resources = {
        "workspace": {"config": {"force": force}},
        "evaluation_choice": {"config": {"settings": config.model_dump(mode="json")}},
    }
    regression: JobFailedError | None = None
    with DagsterInstance.get() as instance:
        try:
            run_job("evaluate", instance, resources)
        except JobFailedError as error:
            if NO_REGRESSION not in str(error):
                raise
            regression = error  # the report exists: print it before failing
    print_report_table(root, config.run, console)
    if regression is not None:
        raise regression
