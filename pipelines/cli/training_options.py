"""Command-line options made from `TrainingChoice`, so that names, defaults and descriptions stand once."""

from collections.abc import Callable
from dataclasses import Field, fields
from functools import wraps
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import click

from pipelines.cli.option_defaults import deployed_default
from training.jobs.config import TrainingChoice

FLAGS: Final = {bool: "--{0}/--no-{0}", int: "--{0}", str: "--{0}"}


def training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for every field of `TrainingChoice`; the command gets them as its argument `choice`."""
    entries = fields(TrainingChoice)
    hints = get_type_hints(TrainingChoice)

    @wraps(command)
    def with_choice(**values: Any) -> None:
        told = {entry.name: values.pop(entry.name) for entry in entries}
        try:
            choice = TrainingChoice(**told)
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
    name = FLAGS.get(hint, "--{0}").format(entry.name.replace("_", "-"))
    text = f"{entry.metadata['description']}."
    usual = str(entry.default) if entry.default != "" else False
    default = deployed_default(TrainingChoice, entry.name)
    return click.option(name, entry.name, type=kind, default=default, help=text, show_default=usual)
