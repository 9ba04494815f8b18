"""Command-line options of `pdfgc animate`, and the order made of them. Imports no torch."""

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from evaluation.animate_order import LARGEST_STRENGTH, AnimateOrder, Strengths

FILE: Final = click.Path(path_type=Path)
STRENGTH: Final = click.FloatRange(0.0, LARGEST_STRENGTH)
OPTIONS: Final = (
    click.option("--appearance", type=FILE, required=True, help="Portrait: a picture with one face."),
    click.option("--lip", type=FILE, help="Sound for the lips: a sound file, or a video for its sound."),
    click.option("--pose", type=FILE, help="Head pose: a video or a picture."),
    click.option("--eye", type=FILE, help="Gaze and blinks: a video or a picture."),
    click.option("--expression", type=FILE, help="Expression: a video or a picture."),
    click.option(
        "--checkpoint",
        default="default",
        show_default=True,
        help="A training run, or a folder with the four released files.",
    ),
    click.option("-o", "--output", type=FILE, required=True, help="The video to write, .mp4."),
    click.option("--grid", type=FILE, help="Also write portrait, result and drivers side by side, .mp4."),
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
    click.option(
        "--seconds",
        type=click.FloatRange(0.0, min_open=True),
        help="Length; else the sound's or the longest driver's.",
    ),
    click.option(
        "--official-habits/--no-official-habits",
        default=None,
        help="The released inference code's gains and smoothing; on for the released files alone.",
    ),
    click.option(
        "--neutral",
        type=click.Choice(["portrait", "zero"]),
        help="What a control left out is held at; zero for the released files, portrait else.",
    ),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
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
