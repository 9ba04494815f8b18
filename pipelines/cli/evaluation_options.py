"""Command-line options made from `EvaluationChoice`, so that names, defaults and descriptions stand once."""

from collections.abc import Callable
from dataclasses import Field, fields
from functools import wraps
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from evaluation.config import EvaluationChoice
from pipelines.cli.option_defaults import deployed_default


def evaluation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for every field of `EvaluationChoice`; the command gets them as its `choice`."""
    entries = fields(EvaluationChoice)
    hints = get_type_hints(EvaluationChoice)

    @wraps(command)
    def with_choice(**values: Any) -> None:
        told = {entry.name: values.pop(entry.name) for entry in entries}
        try:
            choice = EvaluationChoice(**told)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        command(choice=choice, **values)

    with_options: Callable[..., None] = with_choice
    for entry in reversed(entries):
        with_options = _option(entry, hints[entry.name])(with_options)
    return with_options


def _option(entry: Field[Any], hint: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    kind: Any = hint
    if get_origin(hint) is Literal:
        kind = click.Choice(get_args(hint))
    elif hint is int:
        kind = click.IntRange(min=entry.metadata.get("minimum"), max=entry.metadata.get("maximum"))
    name, text = f"--{entry.name.replace('_', '-')}", f"{entry.metadata['description']}."
    usual = str(entry.default) if entry.default != "" else False
    default = deployed_default(EvaluationChoice, entry.name)
    return click.option(name, entry.name, type=kind, default=default, help=text, show_default=usual)
