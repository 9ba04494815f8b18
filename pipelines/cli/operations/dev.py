"""The command `pdfgc dev`; ``python -m pipelines.cli.operations.dev`` is `dg` with the guarded web server."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

GUARDED: Final = {"dagster_webserver": "pipelines.webserver"}  # modules started by `dg dev`
WEBSERVER_VARIABLE: Final = "PDFGC__OPERATIONS__WEBSERVER"
DEFAULT_PORT: Final = "3000"
FIRST_STEPS: Final = """Dagster's UI: {url}
Add a folder of videos: {url}/locations/pdfgc/jobs/add_videos/playground
Gallery of clips, anchors, thresholds and runs: {url}/gallery/
Files below the root: {url}/files/
Ctrl-C ends it."""
WORKSPACE: Final = "workspace.yaml"  # in Dagster's home; the name is that of ../../workspace.yaml
WORKSPACE_TEXT: Final = """load_from:
  - python_module:
      module_name: pipelines.definitions
      location_name: pdfgc
"""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dev(arguments: tuple[str, ...]) -> None:
    """Serve Dagster's UI, and beside it the gallery and the files below the root, on http://localhost:3000.

    ARGUMENTS are passed to `dg dev`, such as --port 3001.
    """
    from dagster import DagsterInstance

    from pipelines.console import use_one_thread
    from pipelines.operations.instance import ensure_dagster_home
    from pipelines.operations.runs.dead_runs import prepare_instance
    from pipelines.preprocessing.first_scan import ensure_batches

    workspace = ensure_dagster_home() / WORKSPACE
    workspace.write_text(WORKSPACE_TEXT)
    port = option(arguments, "--port", "-p") or DEFAULT_PORT
    os.environ.setdefault(WEBSERVER_VARIABLE, f"http://localhost:{port}")  # links of failure messages
    use_one_thread()
    prepare_instance()
    with DagsterInstance.get() as instance:
        if scanned := ensure_batches(instance):
            click.echo(f"First scan: {scanned}")
    click.echo(FIRST_STEPS.format(url=os.environ[WEBSERVER_VARIABLE].rstrip("/")))
    # Dagster 1.13 supersedes `dagster dev` by `dg dev`. Replacing this process passes Ctrl-C on directly.
    command = [sys.executable, "-m", "pipelines.cli.operations.dev", "dev", "-w", str(workspace), *arguments]
    os.execv(sys.executable, command)  # noqa: S606  (no shell is wanted)


def option(arguments: Sequence[str], *names: str) -> str | None:
    """The value of an option, as `--port 3001` or `--port=3001`; None where it is not given."""
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in names:
            return value if equals else next(iter(arguments[place + 1 :]), None)
    return None


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
