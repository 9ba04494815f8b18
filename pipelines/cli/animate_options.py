"""Command-line options of `pdfgc animate`, and the order made of them. Imports no torch."""

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any, Final, get_args

import click

from evaluation.animation.postprocessing import Neutral
from evaluation.animation.request import LARGEST_STRENGTH, AnimateOrder, Device, Strengths

Option = Callable[[Callable[..., None]], Callable[..., None]]

FILE: Final = click.Path(path_type=Path)
STRENGTH: Final = click.FloatRange(0.0, LARGEST_STRENGTH)
DESCRIPTIONS: Final = {
    entry.name: f"{entry.metadata['description']}."
    for entry in fields(AnimateOrder)
    if "description" in entry.metadata
}


def _file(name: str, *flags: str, required: bool = False) -> Option:
    return click.option(*flags, f"--{name}", type=FILE, required=required, help=DESCRIPTIONS[name])


OPTIONS: Final[tuple[Option, ...]] = (
    _file("appearance", required=True),
    *(_file(name) for name in ("lip", "pose", "eye", "expression")),
    click.option("--checkpoint", default="default", show_default=True, help=DESCRIPTIONS["checkpoint"]),
    _file("output", "-o", required=True),
    _file("grid"),
    *(
        click.option(
            f"--{entry.name}-strength",
            type=STRENGTH,
            default=entry.default,
            show_default=entry.default is not None,
            help=f"{entry.metadata['description']}.",
        )
        for entry in fields(Strengths)
    ),
    click.option("--seconds", type=click.FloatRange(0.0, min_open=True), help=DESCRIPTIONS["seconds"]),
    click.option(
        "--official-habits/--no-official-habits", default=None, help=DESCRIPTIONS["official_habits"]
    ),
    click.option("--neutral", type=click.Choice(get_args(Neutral)), help=DESCRIPTIONS["neutral"]),
    click.option(
        "--device",
        type=click.Choice(get_args(Device)),
        default="auto",
        show_default=True,
        help=DESCRIPTIONS["device"],
    ),
)


def animate_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options; the command gets them as its argument `order`."""

    @wraps(command)
    def with_order(**values: Any) -> None:
        told = {entry.name: values.pop(f"{entry.name}_strength") for entry in fields(Strengths)}
        try:
            order = AnimateOrder(strengths=Strengths(**told), **values)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        command(order=order)

    with_options: Callable[..., None] = with_order
    for option in reversed(OPTIONS):
        with_options = option(with_options)
    return with_options
