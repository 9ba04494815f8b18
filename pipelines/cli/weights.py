"""The command `pdfgc weights`: outside weights listed, fetched, verified."""

import json
from collections.abc import Generator
from contextlib import contextmanager

import click

from weights.folder import WEIGHTS_VARIABLE
from weights.licences import ACCEPT_VARIABLE
from weights.rows import FetchProgress

accepting = click.option(
    "--accept-licence",
    "accepted",
    multiple=True,
    metavar="NAME",
    help=f"Accept the licence of NAME, once (repeatable); or name it in {ACCEPT_VARIABLE}.",
)


@click.group()
def weights() -> None:
    """Outside weights: list, fetch, verify. None is needed; each makes one setting better.

    They lie in PDFGC_WEIGHTS (default: pdfgc/weights in the user's cache), a folder a name. What somebody
    copied there works without any network.
    """


@weights.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_weights(as_json: bool) -> None:
    """Show what there is, on which terms, and what of it is here. Reads no file; that does verify."""
    from rich.console import Console
    from rich.table import Table

    from weights.overview import overview

    with _one_line_errors():
        folder, rows = overview()
    if as_json:
        click.echo(json.dumps({"folder": folder, "weights": rows}, indent=2))
        return
    table = Table()
    table.add_column("name", no_wrap=True)
    for heading in ("what for", "licence", "commercial", "here"):
        table.add_column(heading)
    for row in rows:
        what_for = f"{row['purpose']}. For: {row['used_by']}"
        table.add_row(
            str(row["name"]), what_for, *(str(row[key]) for key in ("licence", "commercial", "state"))
        )
    console = Console()
    console.print(table)
    console.print(f"Folder: {folder} ({WEIGHTS_VARIABLE})", soft_wrap=True)


@weights.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--from",
    "source",
    metavar="PATH|URL",
    help="Take it from a file, archive, folder or address (file, http, https) of your own.",
)
@accepting
def fetch_command(names: tuple[str, ...], source: str | None, accepted: tuple[str, ...]) -> None:
    """Bring weights here: downloads go on where they were cut, are verified, and appear whole.

    Proxies: HTTP_PROXY, HTTPS_PROXY, NO_PROXY.
    """
    from weights.resolve import fetch_weights

    if source is not None and len(names) > 1:
        raise click.UsageError(f"--from is for one name, got {', '.join(names)}")
    with _one_line_errors():
        _accept(accepted)
        for name in names:
            with _progress_bar() as progress:
                files = fetch_weights(name, progress, source)
            for file in files:
                click.echo(f"{file.path}  sha256 {file.sha256} (by {file.trusted})")


@weights.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@accepting
def verify_command(names: tuple[str, ...], accepted: tuple[str, ...]) -> None:
    """Read weights and hold them against the list, or against the first use; all that are here by default."""
    from weights.overview import overview
    from weights.resolve import licence_record

    wrong = 0
    with _one_line_errors():
        _accept(accepted)
        present = [str(row["name"]) for row in overview()[1] if row["state"] != "no"]
        for name in names or present:
            try:
                record = licence_record(name)
            except (ValueError, OSError) as error:
                wrong += 1
                click.echo(f"{name}: {error}", err=True)
            else:
                for file, sha256 in record.sha256.items():
                    click.echo(f"{name}: {file} is as it should be, sha256 {sha256}")
        if not names and not present:
            click.echo("no weights are here; pdfgc weights list shows what there is")
    raise SystemExit(1 if wrong else 0)


@weights.command("path")
@click.argument("name")
@accepting
def path_command(name: str, accepted: tuple[str, ...]) -> None:
    """Print where NAME lies, verified: its file, or the folder of its files."""
    from weights.resolve import find_weights

    with _one_line_errors():
        _accept(accepted)
        click.echo(str(find_weights(name)))


def _accept(names: tuple[str, ...]) -> None:
    from weights.resolve import accept_licence

    for name in names:
        accept_licence(name)


@contextmanager
def _one_line_errors() -> Generator[None, None, None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _progress_bar() -> Generator[FetchProgress, None, None]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    bars = Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console)
    tasks: dict[str, TaskID] = {}

    def show(name: str, done: int, total: int | None) -> None:
        if not tasks:
            bars.start()  # an empty bar is an empty line
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total)
        bars.update(tasks[name], completed=done, total=total)

    try:
        yield show
    finally:
        if tasks:
            bars.stop()
