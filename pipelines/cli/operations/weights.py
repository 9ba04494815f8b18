"""The command `pdfgc weights`: list, fetch and verify pretrained weights."""

import json
from collections.abc import Generator
from contextlib import contextmanager

import click

from storage.printable import display_text
from weights.folder import WEIGHTS_VARIABLE, FetchProgress
from weights.licences import ACCEPT_VARIABLE

accept_option = click.option(
    "--accept-licence",
    "accepted",
    multiple=True,
    metavar="NAME",
    help=f"Accept the licence of NAME (repeatable). Stored; alternative: {ACCEPT_VARIABLE}=NAME,...",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def weights() -> None:
    """List, fetch and verify pretrained weights. All are optional.

    They are stored in PDFGC_WEIGHTS (default: pdfgc/weights in the user's cache), one folder per name. Files
    copied there by hand work offline.
    """


@weights.command("list")
@json_option
def list_weights(as_json: bool) -> None:
    """Show all weights, their licences, and which are present (checked by name and size)."""
    from rich.console import Console
    from rich.table import Table

    from weights.folder import overview

    folder, rows = overview()
    if as_json:
        click.echo(json.dumps({"folder": folder, "weights": rows}, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("used by", "licence (commercial use)", "state"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        licence = f"{row['licence']} ({row['commercial']})"
        table.add_row(str(row["name"]), str(row["used_by"]), licence, str(row["state"]))
    console = Console()
    console.print(table)
    console.print(f"Folder: {folder} ({WEIGHTS_VARIABLE})", soft_wrap=True, highlight=False)


@weights.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--from",
    "source",
    metavar="PATH|URL",
    help="Take the files from this file, archive, folder or URL (file, http, https).",
)
@accept_option
def fetch_command(names: tuple[str, ...], source: str | None, accepted: tuple[str, ...]) -> None:
    """Download weights. Interrupted downloads are resumed; files are verified before they are installed.

    Proxies: HTTP_PROXY, HTTPS_PROXY, NO_PROXY.
    """
    from weights.resolve import fetch_weights

    if source is not None and len(names) > 1:
        raise click.UsageError(f"--from takes one NAME, got {', '.join(names)}")
    _accept(accepted)
    for name in names:
        with _progress_bar() as progress:
            files = fetch_weights(name, progress, source)
        for file in files:
            click.echo(f"{file.path}  sha256 {file.sha256} ({_trusted(file.trusted)})")


@weights.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@accept_option
def verify_command(names: tuple[str, ...], accepted: tuple[str, ...]) -> None:
    """Read files and compare their sha256 with the catalog or with the first use.

    Without NAME all present weights are verified.
    """
    from weights.folder import overview
    from weights.resolve import licence_record

    failures = 0
    _accept(accepted)
    present = [str(row["name"]) for row in overview()[1] if row["state"] != "missing"]
    for name in names or present:
        try:
            record = licence_record(name)
        except (ValueError, OSError) as error:
            failures += 1
            click.echo(f"{name}: {display_text(error)}", err=True)
        else:
            for file, sha256 in record.sha256.items():
                click.echo(f"{name}: {file} ok, sha256 {sha256}")
    if not names and not present:
        click.echo("no weights are present; pdfgc weights list shows those available")
    raise SystemExit(1 if failures else 0)


@weights.command("path")
@click.argument("name")
@accept_option
def path_command(name: str, accepted: tuple[str, ...]) -> None:
    """Print the verified path of NAME: its file, or its folder if it has several files."""
    from weights.resolve import weights_path

    _accept(accepted)
    click.echo(str(weights_path(name)))


def _accept(names: tuple[str, ...]) -> None:
    from weights.resolve import accept_licence

    for name in names:
        accept_licence(name)


def _trusted(trusted: str) -> str:
    return "matches the catalog" if trusted == "catalog" else "recorded at first use"


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
            bars.start()  # an empty bar would print an empty line
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total)
        bars.update(tasks[name], completed=done, total=total)

    try:
        yield show
    finally:
        if tasks:
            bars.stop()
