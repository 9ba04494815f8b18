"""The command `pdfgc settings`."""

import json
import shutil
import textwrap
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Final

import click

from storage.printable import printable

if TYPE_CHECKING:
    from pipelines.deployed_settings import SettingRow

DELIMITER: Final = "__"


@click.command()
@click.argument("words", nargs=-1)
@click.option("--changed", is_flag=True, help="List only settings changed by the environment.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settings(words: tuple[str, ...], changed: bool, as_json: bool) -> None:
    """List settings, bounds and environment variables.

    With WORDS, only settings whose variable or description contains all of them. The variables change the
    defaults of this deployment; the launchpad and the options of a command change a single run.
    """
    from pipelines.deployed_settings import setting_rows

    rows = [
        row for row in setting_rows() if _matches(row, words) and (row.value != row.default or not changed)
    ]
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        click.echo(settings_text(rows, shutil.get_terminal_size().columns))


def settings_text(rows: "list[SettingRow]", width: int) -> str:
    """Settings grouped by the common part of their variables, such as ``PDFGC__TRAINING__``."""
    lines: list[str] = []
    for prefix, group in groupby(rows, lambda row: row.variable.rpartition(DELIMITER)[0]):
        lines.append(click.style(f"{prefix}{DELIMITER}", bold=True))
        for row in group:
            lines.append(f"  {row.variable.rpartition(DELIMITER)[2]} = {_value(row)}")
            indent = " " * 6
            lines += textwrap.wrap(row.description, width, initial_indent=indent, subsequent_indent=indent)
    return "\n".join([*lines, f"{len(rows)} settings"])


def _value(row: "SettingRow") -> str:
    is_changed = row.value != row.default
    notes = [f"default {_shown(row.default)}"] if is_changed else []
    notes += [row.bounds] if row.bounds else []
    value = click.style(_shown(row.value), bold=is_changed)
    return f"{value}  ({', '.join(notes)})" if notes else value


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    return f"{value:.6g}" if isinstance(value, float) else repr(value) if value == "" else printable(value)


def _matches(row: "SettingRow", words: tuple[str, ...]) -> bool:
    text = f"{row.variable} {row.description}".lower()
    return all(word.lower() in text for word in words)
