"""The command `pdfgc animate`."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from evaluation.animation.request import AnimateProgress, AnimateReport, AnimateRequest
from pipelines.options import options_from
from storage.printable import display_text

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@options_from(
    AnimateRequest,
    "request",
    left_out=("official_networks", "frames_at_once"),
    suffixes={"strengths": "strength"},
    short={"output": "-o", "checkpoint": "--run"},
)
def animate(request: AnimateRequest) -> None:
    """Animate a portrait with audio and driving videos.

    Every driver is optional: without audio the lips stay as in silence, everything else as in the portrait.
    The video is as long as the audio, else as the longest driver; a shorter driver holds its last frame.
    """
    from rich.console import Console

    from pipelines.console import without_chatter
    from pipelines.logs import log_to_terminal

    console = Console()
    with without_chatter(), log_to_terminal():
        from evaluation.animation.animate import animate as animate_portrait
        from evaluation.animation.limited_reading import READING_LIMITS, LimitedReader

        with LimitedReader(READING_LIMITS) as limited, progress_bar(console) as show:
            report = animate_portrait(request, show, limited=limited)
        print_report(report, console)


@contextmanager
def progress_bar(console: "Console") -> Generator[Callable[[AnimateProgress], None]]:
    """Yields a callback for `animate` that draws a bar a step on a terminal and does nothing elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def show(progress: AnimateProgress) -> None:
            if progress.step not in tasks:
                tasks[progress.step] = bars.add_task(progress.step, total=progress.total)
            bars.update(tasks[progress.step], completed=progress.done)

        yield show


def print_report(report: AnimateReport, console: "Console") -> None:
    """Print the path, length, size and speed of the video, and the notes."""
    rate = report.frames / report.wall_seconds
    size = f"{report.seconds:.2f} s, {report.frames} frames of {report.side_px} px by {report.checkpoint}"
    lines = [
        f"{report.output}: {size}, {rate:.1f} frames per second",
        *([f"{report.grid}: side by side"] if report.grid is not None else []),
        *report.notes,
    ]
    for line in lines:
        console.print(display_text(line), markup=False, highlight=False, soft_wrap=True)
