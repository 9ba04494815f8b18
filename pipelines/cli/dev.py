"""The command `pdfgc dev`; ``python -m pipelines.cli.dev`` is `dg` with the guarded web server."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

GUARDED: Final = {"dagster_webserver": "pipelines.webserver"}  # modules started by `dg dev`
WORKSPACE: Final = "workspace.yaml"  # of a checkout; an installed pdfgc serves its own definitions


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
    command = [sys.executable, "-m", "pipelines.cli.dev", "dev", *target, *arguments]
    os.execv(sys.executable, command)  # noqa: S606  (no shell is wanted)


def serve_guarded() -> None:
    """Run `dg` so that its command `dev` starts `pipelines.webserver` in place of Dagster's web server."""
    from dagster._cli import dev as dagster_dev
    from dagster_dg_cli import cli

    open_subprocess = dagster_dev.open_ipc_subprocess  # pyright: ignore[reportPrivateImportUsage]

    def open_guarded(parts: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
        return open_subprocess([GUARDED.get(part, part) for part in parts], **options)

    dagster_dev.open_ipc_subprocess = open_guarded  # pyright: ignore[reportPrivateImportUsage]
    cli.main()


if __name__ == "__main__":
    serve_guarded()
