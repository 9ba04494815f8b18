"""What is made, what it cost, what is stale and why, what failed: the terminal's answer to the UI."""

import os
from pathlib import Path
from typing import Final

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from upath import UPath

from pipelines.deployed_settings import deployed, setting_rows
from pipelines.operations.dagster_home import HOME_VARIABLE
from pipelines.operations.failed_runs import FAILURES_NAME
from pipelines.preprocessing.labeller_weights import labeller_weights
from pipelines.preprocessing.reprocessing_plan import duration
from preprocessing.dataset.whole import DATASET, WHOLE
from preprocessing.orchestration.batch_costs import StepTotal, step_totals
from preprocessing.orchestration.reprocessing import ReprocessingPlan, plan_reprocessing
from preprocessing.orchestration.steps import PreprocessingSettings
from preprocessing.sources.source_videos import batch_keys
from storage.publishing import current

SHOWN: Final = 20  # stale batches, unless all are asked for
FAILURES_SHOWN: Final = 5


def print_status(root: UPath, console: Console, *, all_batches: bool = False) -> None:
    """Print a row a step with its costs, the stale batches with the reasons, and the last failures.

    Judged by the deployment's settings: the defaults, and what the environment puts in their place.
    """
    keys = batch_keys(root)
    if not keys:
        console.print(f"No batch under {root} yet: `pdfgc demo`, or `pdfgc preprocess FOLDER`.")
        return
    settings = deployed(PreprocessingSettings)
    plan = plan_reprocessing(root, settings, progress=console.print, weights=labeller_weights(settings))
    console.print(_steps(step_totals(root, keys), len(keys)))
    _print_dataset(root, console)
    _print_stale(plan, console, len(plan.stale) if all_batches else SHOWN)
    for held in plan.held_back:
        gone = f"{held.missing_videos} of {held.videos} videos are not there"
        console.print(f"held back: face_tracks of {held.batch} is stale ({held.reason}), but {gone}")
    changed = [row for row in setting_rows() if row.value != row.default]
    for row in changed:
        told = f"changed by the environment: {row.variable}={row.value} (default {row.default})"
        console.print(told, soft_wrap=True)
    _print_failures(console)


def _steps(totals: list[StepTotal], batches: int) -> Table:
    table = Table(title=f"Steps (batches: {batches})", box=SIMPLE, collapse_padding=True)
    table.add_column("step", no_wrap=True)
    # Headers in two lines: a terminal has 80 columns, and a number that is cut says nothing.
    for name in ("made", "time", "frames\n/s", "CPU ms\n/frame", "peak\nMiB", "refused", "last made"):
        table.add_column(name, justify="right", no_wrap=True)
    for total in totals:
        table.add_row(
            total.step,
            f"{total.batches}",
            duration(total.seconds),
            _number(total.frames_per_second, ".0f"),
            _number(total.cpu_milliseconds_per_frame, ".2f"),
            _number(total.peak_memory_mebibytes or None, ".0f"),
            _number(total.refused_share, ".1%"),
            total.finished_at[5:16].replace("T", " "),
        )
    return table


def _print_dataset(root: UPath, console: Console) -> None:
    dataset = current(root, DATASET, WHOLE)
    if dataset is None:
        console.print("data set: not made yet")
        return
    counts = dataset.manifest.counts
    console.print(
        f"data set: {counts['samples']:g} samples of {counts['identities']:g} identities in "
        f"{counts['batches']:g} of the batches, made {dataset.manifest.finished_at[:16].replace('T', ' ')}"
    )


def _print_stale(plan: ReprocessingPlan, console: Console, shown: int) -> None:
    if not plan.stale:
        console.print("every batch is up to date")
        return
    table = Table(title=f"Stale batches: {len(plan.stale)}, about {duration(plan.seconds)}")
    for name in ("batch", "why", "runs", "about"):
        table.add_column(name)
    for batch in plan.stale[:shown]:
        table.add_row(batch.batch, batch.why, ", ".join(batch.steps), duration(batch.seconds))
    console.print(table)
    if len(plan.stale) > shown:
        console.print(f"and {len(plan.stale) - shown} more; `pdfgc status --all` shows them")


def _print_failures(console: Console) -> None:
    """The last lines that the sensor failed_runs wrote."""
    path = Path(os.environ.get(HOME_VARIABLE, "")) / FAILURES_NAME
    if path.is_file():
        for line in path.read_text("utf-8").splitlines()[-FAILURES_SHOWN:]:
            console.print(f"failed: {line}", soft_wrap=True, markup=False)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"
