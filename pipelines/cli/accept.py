"""The commands `pdfgc accept` and `pdfgc accepted`."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from evaluation.comparison.against_baseline import AcceptanceSettings

JOB = "accept_run"
OP = "accepted_run"


@click.command()
@click.argument("run")
@click.option("--note", required=True, help="Why this run is accepted; stands in the history.")
@click.option(
    "--even-if-worse", is_flag=True, help="Accept it even if it is worse than the last accepted one."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0.0, 10.0),
    help="Share of the accepted mean's magnitude by which a mean may be worse.  [default: the deployment's]",
)
@click.option(
    "--metrics",
    help="Metrics that count, names with commas between; empty: all.  [default: the deployment's]",
)
def accept(run: str, note: str, even_if_worse: bool, tolerance: float | None, metrics: str | None) -> None:
    """Accept RUN: later runs' evaluations must not be worse.

    The run's report is held against the run accepted before; a worse one is refused. The same job stands in
    Dagster's UI, and this run shows there.
    """
    from rich.console import Console

    from evaluation.comparison.against_baseline import AcceptanceSettings
    from evaluation.comparison.baseline_runs import last_accepted
    from evaluation.comparison.text import print_history
    from pipelines.deployed_settings import deployed
    from pipelines.evaluation.acceptance import require_acceptable
    from storage.root import open_root

    try:
        root, usual = open_root(), deployed(AcceptanceSettings)
        settings = AcceptanceSettings(
            tolerance=usual.tolerance if tolerance is None else tolerance,
            metrics=usual.metrics if metrics is None else metrics,
        )
        # Before the job, whose failure would be told in many lines.
        require_acceptable(root, run, settings, even_if_worse=even_if_worse)
        _run_job(run, {"note": note, "even_if_worse": even_if_worse}, settings)
        accepted = last_accepted(root)
        assert accepted is not None  # the job made one
        print_history([accepted], Console())
    except (ValueError, OSError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def accepted(as_json: bool) -> None:
    """Show the history of accepted runs; the last one counts."""
    from rich.console import Console

    from evaluation.comparison.baseline_runs import accepted_history
    from evaluation.comparison.text import history_json, print_history
    from storage.root import open_root

    try:
        history = accepted_history(open_root())
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(history_json(history))
    elif history:
        print_history(history, Console())
    else:
        click.echo("no run is accepted yet: pdfgc accept RUN --note WHY")


def _run_job(run: str, config: dict[str, object], settings: "AcceptanceSettings") -> None:
    from dataclasses import asdict

    from dagster import DagsterInstance

    from pipelines.operations.dagster_home import ensure_dagster_home
    from pipelines.operations.local_runs import run_job

    ensure_dagster_home()
    resources = {
        "evaluation_choice": {"config": {"settings": {"run": run}}},
        "acceptance": {"config": {"settings": asdict(settings)}},
    }
    with DagsterInstance.get() as instance:
        run_job(JOB, instance, resources, {OP: {"config": config}})
