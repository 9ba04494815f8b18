"""The commands `pdfgc baseline set` and `pdfgc baseline list`."""

import click

from evaluation.comparison.regressions import BaselineSettings
from pipelines.options import options_from


@click.group()
def baseline() -> None:
    """Set the run that later runs are compared with, or list all."""


@baseline.command("set")
@click.argument("run")
@click.option("--note", required=True, help="Why this run is the baseline; shown in the history.")
@click.option(
    "--allow-regression", is_flag=True, help="Set it even if it is worse than the current baseline."
)
@options_from(BaselineSettings, "settings")
def set_baseline(run: str, note: str, allow_regression: bool, settings: BaselineSettings) -> None:
    """Set RUN as the baseline that later runs must not be worse than.

    RUN is compared with the current baseline run and refused if it is worse.
    """
    from dagster import DagsterInstance
    from rich.console import Console

    from evaluation.comparison.baseline_runs import list_baseline_runs
    from evaluation.comparison.text import print_history
    from evaluation.report.summary import EVALUATION_REPORT
    from pipelines.evaluation.baseline_run import require_no_regression
    from pipelines.operations.instance import ensure_dagster_home
    from pipelines.operations.runs.local_runs import run_job
    from pipelines.partitions import add_training_run
    from storage.publishing import require_current
    from storage.root import open_root

    root = open_root()
    require_current(root, EVALUATION_REPORT, run)
    require_no_regression(root, run, settings, allow_regression=allow_regression)  # fails before the job
    ensure_dagster_home()
    resources = {"baseline": {"config": settings.model_dump(mode="json")}}
    config = {"run": run, "note": note, "allow_regression": allow_regression}
    with DagsterInstance.get() as instance:
        add_training_run(instance, run)
        run_job("set_baseline", instance, resources, {"set_baseline": {"config": config}})
    print_history(list_baseline_runs(root)[-1:], Console())


@baseline.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_baselines(as_json: bool) -> None:
    """List all baseline runs; the last one is current."""
    from rich.console import Console

    from evaluation.comparison.baseline_runs import list_baseline_runs
    from evaluation.comparison.text import history_json, print_history
    from storage.root import open_root

    history = list_baseline_runs(open_root())
    if as_json:
        click.echo(history_json(history))
    elif history:
        print_history(history, Console())
    else:
        click.echo("no baseline run is set: pdfgc baseline set RUN --note WHY")
