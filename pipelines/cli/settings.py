"""The command `pdfgc settings`: every setting in one place."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pipelines.deployed_settings import SettingRow


@click.command()
@click.argument("words", nargs=-1)
@click.option("--changed", is_flag=True, help="Only those that the environment changes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settings(words: tuple[str, ...], changed: bool, as_json: bool) -> None:
    """List every setting with its value, bounds and the variable that changes it for this deployment.

    With WORDS only those whose variable or description holds them all. A single run's settings are changed
    in its launchpad instead.
    """
    from pipelines.deployed_settings import setting_rows  # imports Dagster, for seconds

    try:
        rows = setting_rows()
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    wanted = [row for row in rows if _holds(row, words) and (row.value != row.default or not changed)]
    if as_json:
        click.echo(json.dumps([asdict(row) for row in wanted], indent=1))
    else:
        Console().print(_table(wanted))


def _holds(row: "SettingRow", words: tuple[str, ...]) -> bool:
    text = f"{row.variable} {row.description}".lower()
    return all(word.lower() in text for word in words)


def _table(rows: "list[SettingRow]") -> Table:
    table = Table(title=f"{len(rows)} settings")
    table.add_column("variable", overflow="fold")
    for name in ("value", "default", "bounds", "what it is"):
        table.add_column(name)
    for row in rows:
        value = str(row.value) if row.value == row.default else f"[bold]{row.value}[/bold]"
        table.add_row(row.variable, value, str(row.default), row.bounds, row.description)
    return table
