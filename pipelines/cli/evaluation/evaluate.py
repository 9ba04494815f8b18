"""The command `pdfgc evaluate`."""

from typing import TYPE_CHECKING

import click

from evaluation.config import EvaluationConfig
from pipelines.options import options_from

if TYPE_CHECKING:
    from rich.console import Console
    from upath import UPath

    from pipelines.operations.runs.local_runs import JobFailedError


@click.command()
@options_from(EvaluationConfig, "config")
@click.option("--force", is_flag=True, help="Rebuild everything, even what is up to date.")
def evaluate(config: EvaluationConfig, force: bool) -> None:
    """Measure lip sync, control and quality of a run."""
    from rich.console import Console

    from pipelines.console import use_one_thread

    use_one_thread()
    from pipelines.console import without_chatter

    with without_chatter():
        run_evaluation(config, Console(), force=force)


def run_evaluation(config: EvaluationConfig, console: "Console", *, force: bool = False) -> None:
    """Evaluate a run; print the report's tables and the path of its page.

    Raises:
        FileNotFoundError: there is no run, and the starter model is not installed.
        ValueError: the run is not trained; lists those that are.
        JobFailedError: the evaluation failed, or the run is worse than the baseline run.
    """
    from evaluation.report.summary import print_report_table
    from storage.root import open_root

    root = open_root()
    config = config.replace(run=config.run or newest_run(root))
    regression = evaluate_run(root, config, force=force)
    print_report_table(root, config.run, console)
    if regression is not None:
        raise regression


def evaluate_run(root: "UPath", config: EvaluationConfig, *, force: bool = False) -> "JobFailedError | None":
    """Evaluate the run that `config` names.

    Returns:
        The error of a run that is worse than the baseline run: its report exists all the same.

    Raises:
        ValueError: the run is not trained; lists those that are.
        JobFailedError: the evaluation failed.
    """
    from dagster import DagsterInstance

    from pipelines.evaluation.baseline_run import NO_REGRESSION
    from pipelines.forms import in_groups
    from pipelines.operations.instance import ensure_dagster_home
    from pipelines.operations.runs.local_runs import JobFailedError, run_job
    from pipelines.partitions import add_training_run
    from storage.publishing import require_current
    from training.jobs.config import STARTER_NAME
    from training.stage_catalog import RENDERING_STAGE

    ensure_dagster_home()
    if config.run != STARTER_NAME:
        require_current(root, RENDERING_STAGE, config.run)
    resources = {
        "workspace": {"config": {"force": force}},
        "evaluation_config": {
            "config": in_groups(EvaluationConfig, config.model_dump(mode="json", exclude={"run"}))
        },
    }
    with DagsterInstance.get() as instance:
        add_training_run(instance, config.run)
        try:
            run_job("evaluate", instance, resources, partition_key=config.run)
        except JobFailedError as error:
            if NO_REGRESSION not in str(error):
                raise
            return error
    return None


def newest_run(root: "UPath") -> str:
    """The run whose last stage was trained last; the starter model if there is none.

    Raises:
        FileNotFoundError: there is none, and the starter model is not installed.
    """
    from evaluation.animation.checkpoint_abilities import resolve_checkpoint
    from storage.publishing import published_partitions, require_current
    from training.stage_catalog import RENDERING_STAGE

    runs = published_partitions(root, RENDERING_STAGE)
    if not runs:
        return resolve_checkpoint(root, "")
    return max(runs, key=lambda run: require_current(root, RENDERING_STAGE, run).manifest.finished_at)
