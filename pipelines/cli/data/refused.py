"""The command `pdfgc refused`: every refused video, clip and anchor."""

import csv
import sys
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import click

from storage.printable import display_text

if TYPE_CHECKING:
    from preprocessing.orchestration.refusals import Refusal

COLUMNS: Final = (
    "step",
    "batch",
    "file",
    "start_seconds",
    "reason",
    "score",
    "bound",
    "unit",
    "detail",
    "key",
)


@click.command()
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values with all columns.")
@click.option("--step", "steps", multiple=True, help="Only of this step (repeatable), such as clips.")
@click.option("--batch", "batches", multiple=True, help="Only of this batch (repeatable).")
@click.option("--reason", default="", help="Only for this reason, such as blurred.")
def refused(as_csv: bool, steps: tuple[str, ...], batches: tuple[str, ...], reason: str) -> None:
    """List every refused video, clip and anchor with file, time, reason, and score against the bound.

    Reads what is published of every batch, in parts; the counts by reason follow on the error stream.
    """
    from preprocessing.orchestration.refusals import refusals
    from storage.root import open_root

    found = refusals(open_root(), steps, batches, reason)
    counts = print_csv(found) if as_csv else print_lines(found)
    by_reason = ", ".join(f"{step} {reason} {count}" for (step, reason), count in counts.most_common())
    click.echo(f"{counts.total()} refused{': ' if by_reason else ''}{display_text(by_reason)}", err=True)


def print_csv(found: "Iterable[Refusal]") -> Counter[tuple[str, str]]:
    """Print rows of comma-separated values; returns counts by step and reason."""
    counts: Counter[tuple[str, str]] = Counter()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in found:
        counts[each.step, each.reason] += 1
        writer.writerow([_cell(getattr(each, name)) for name in COLUMNS])
    return counts


def print_lines(found: "Iterable[Refusal]") -> Counter[tuple[str, str]]:
    """Print a line for each; returns counts by step and reason."""
    counts: Counter[tuple[str, str]] = Counter()
    for each in found:
        counts[each.step, each.reason] += 1
        time = "" if each.start_seconds is None else f" at {each.start_seconds:.2f} s"
        line = f"{each.step}: {each.file}{time}: {each.reason}{score_text(each)}"
        click.echo(display_text(line))
    return counts


def score_text(refusal: "Refusal") -> str:
    """Score and bound of a refusal, or its sentence."""
    if refusal.score is None:
        return f" ({refusal.detail})" if refusal.detail else ""
    against = "" if refusal.bound is None else f", bound {refusal.bound:.4g}"
    unit = f" {refusal.unit}" if refusal.unit else ""
    return f" ({refusal.score:.4g}{against}{unit})"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else display_text(value)
