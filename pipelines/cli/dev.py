"""The command `pdfgc dev`."""

import os
import sys
from pathlib import Path

import click

WORKSPACE = "workspace.yaml"  # of a checkout; an installed pdfgc serves its own definitions


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dev(arguments: tuple[str, ...]) -> None:
    """Serve Dagster's UI on http://localhost:3000.

    ARGUMENTS are passed to `dg dev`, such as --port 3001.
    """
    from pipelines.console import use_one_thread
    from pipelines.operations.dead_runs import prepare_instance
    from pipelines.operations.instance import ensure_dagster_home

    ensure_dagster_home()
    prepare_instance()
    use_one_thread()
    target = ["-w", WORKSPACE] if Path(WORKSPACE).is_file() else ["-m", "pipelines.definitions"]
    # Dagster 1.13 supersedes `dagster dev` by `dg dev`. Replacing this process passes Ctrl-C on directly.
    command = [sys.executable, "-m", "dagster_dg_cli.cli", "dev", *target, *arguments]
    os.execv(sys.executable, command)  # noqa: S606  (no shell is wanted)
