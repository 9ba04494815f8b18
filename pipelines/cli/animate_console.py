"""What `pdfgc animate` shows on the terminal: a bar a step with the time left, and what was made."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evaluation.animation.request import AnimateProgress, AnimateReport


@contextmanager
def progress_bar(console: Console) -> Generator[Callable[[AnimateProgress], None]]:
    """A bar a step, with the time left, where there is a terminal; give what it yields to `animate`."""
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, Any] = {}

        def show(told: AnimateProgress) -> None:
            if told.step not in tasks:
                tasks[told.step] = progress.add_task(told.step, total=told.total)
            progress.update(tasks[told.step], completed=told.done)

        yield show


def print_report(report: AnimateReport, console: Console) -> None:
    """Say what was made."""
    rate = report.frames / report.wall_seconds
    made = f"{report.seconds:.2f} s, {report.frames} frames of {report.side_px} px by {report.checkpoint}"
    lines = [
        f"{report.output}: {made}, {rate:.1f} frames a second",
        *([f"{report.grid}: side by side"] if report.grid is not None else []),
        *report.notes,
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
