"""The command `pdfgc status`: what is built, what it cost, what is stale, and which runs failed."""

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipelines.durations import duration
from storage.printable import display_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from upath import UPath

    from pipelines.deployed_settings import SettingRow
    from preprocessing.dataset.mixed_identities import Finding
    from preprocessing.orchestration.chosen_settings import ChosenSettings
    from preprocessing.orchestration.costs import StepTotal
    from preprocessing.orchestration.reprocessing import ReprocessingPlan
    from storage.manifest import Manifest

STALE_SHOWN: Final = 20  # unless --all
FAILURES_SHOWN: Final = 5


@click.command()
@click.option("--all", "all_batches", is_flag=True, help="List every stale batch, not only the first 20.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(all_batches: bool, as_json: bool) -> None:
    """Show costs, mixed-up identities, stale batches with reasons, and failed runs."""
    from rich.console import Console

    from pipelines.logs import log_to_terminal
    from pipelines.operations.instance import ensure_dagster_home
    from storage.root import open_root

    ensure_dagster_home()
    root = open_root()
    with log_to_terminal():
        result = read_status(root)
    if as_json:
        click.echo(json.dumps(as_json_object(result), indent=2))
    elif not result.batches:
        click.echo(f"No batches in {root}. Start with: pdfgc demo, or pdfgc preprocess FOLDER")
    else:
        print_status(result, Console(), all_batches=all_batches)


@dataclass(frozen=True)
class Status:
    """The state of a deployment; stale by the settings of the deployment."""

    batches: int
    steps: "list[StepTotal]"
    dataset: "Manifest | None"
    identities: "list[Finding]"  # who may be mixed up
    plan: "ReprocessingPlan"
    changed_settings: "list[SettingRow]"
    chosen: "ChosenSettings"  # settings that count over the deployment's
    failures: list[str]  # the last lines of failures.log


def read_status(root: "UPath") -> Status:
    """Read manifests, compare fingerprints and read the log of failed runs."""
    from pipelines.deployed_settings import deployed, setting_rows
    from preprocessing.dataset.index import DATASET, WHOLE
    from preprocessing.dataset.mixed_identities import read_findings
    from preprocessing.orchestration.chosen_settings import read_chosen
    from preprocessing.orchestration.costs import step_totals
    from preprocessing.orchestration.reprocessing import plan_reprocessing
    from preprocessing.orchestration.steps import PreprocessingSettings
    from preprocessing.sources.stored_catalog import batch_keys
    from storage.publishing import current

    keys = batch_keys(root)
    settings = deployed(PreprocessingSettings)
    dataset = current(root, DATASET, WHOLE)
    return Status(
        batches=len(keys),
        steps=step_totals(root, keys),
        dataset=None if dataset is None else dataset.manifest,
        identities=read_findings(root),
        plan=plan_reprocessing(root, settings),
        changed_settings=[row for row in setting_rows() if row.value != row.default],
        chosen=read_chosen(root),
        failures=_failures(),
    )


def as_json_object(status: Status) -> dict[str, Any]:
    """The status as JSON values."""
    return {
        "batches": status.batches,
        "steps": [asdict(total) for total in status.steps],
        "dataset": None
        if status.dataset is None
        else {"counts": dict(status.dataset.counts), "finished_at": status.dataset.finished_at},
        "mixed_identities": [asdict(finding) for finding in status.identities],
        "stale": [asdict(batch) for batch in status.plan.stale],
        "stale_seconds": status.plan.seconds,
        "held_back": [asdict(batch) for batch in status.plan.held_back],
        "changed_settings": {row.variable: row.value for row in status.changed_settings},
        "chosen_settings": asdict(status.chosen),
        "failures": status.failures,
    }


def print_status(status: Status, console: "Console", *, all_batches: bool = False) -> None:
    """Print the status as tables of at most 80 columns."""
    console.print(_step_table(status))
    if status.dataset is None:
        console.print("data set: none")
    else:
        counts, finished = status.dataset.counts, status.dataset.finished_at[:16].replace("T", " ")
        console.print(
            f"data set: {counts['samples']:g} samples, {counts['identities']:g} identities, "
            f"{counts['batches']:g} of {status.batches} batches, built {finished}"
        )
    for line in finding_lines(status.identities):
        console.print(display_text(line), soft_wrap=True, markup=False)
    _print_stale(status.plan, console, len(status.plan.stale) if all_batches else STALE_SHOWN)
    for batch in status.plan.held_back:
        missing = f"{batch.missing_videos} of {batch.videos} videos are missing"
        line = f"held back: {batch.batch}: face_tracks is stale ({batch.reason}), but {missing}"
        console.print(display_text(line), markup=False)
    for row in status.changed_settings:
        line = f"changed by the environment: {row.variable}={row.value} (default {row.default})"
        console.print(display_text(line), soft_wrap=True, markup=False)
    for line in chosen_lines(status.chosen):
        console.print(display_text(line), soft_wrap=True, markup=False)
    for line in status.failures:
        console.print(f"failed: {display_text(line)}", soft_wrap=True, markup=False)


def finding_lines(findings: "list[Finding]") -> list[str]:
    """What was found of who may be mixed up, with examples and what to do."""
    lines: list[str] = []
    for finding in findings:
        lines.append(f"identities: {finding.title}")
        lines += [f"  {example}" for example in finding.examples]
        lines.append(f"  {finding.remedy}.")
    return lines


def chosen_lines(chosen: "ChosenSettings") -> list[str]:
    """The settings that count over the deployment's, for all batches and for some."""
    from pipelines.metadata import changes_text

    lines = []
    if chosen.adopted is not None:
        lines.append(f"settings of all batches: {changes_text(chosen.adopted.changes)} (adopted)")
    own = Counter(changes_text(choice.changes) for choice in chosen.batches.values())
    return lines + [f"settings of {count} batches of their own: {text}" for text, count in own.items()]


def _step_table(status: Status) -> "Table":
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title=f"Steps (batches: {status.batches})", box=SIMPLE, collapse_padding=True)
    table.add_column("step", no_wrap=True)
    for name in ("built", "time", "frames\n/s", "CPU ms\n/frame", "peak\nMiB", "refused", "last built"):
        table.add_column(name, justify="right", no_wrap=True)
    for total in status.steps:
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


def _print_stale(plan: "ReprocessingPlan", console: "Console", shown: int) -> None:
    from rich.table import Table
    from rich.text import Text

    if not plan.stale:
        console.print("stale: none")
        return
    table = Table(title=f"Stale batches: {len(plan.stale)}, estimated {duration(plan.seconds)}")
    for name in ("batch", "reason", "steps", "estimated"):
        table.add_column(name)
    for batch in plan.stale[:shown]:
        table.add_row(
            batch.batch, Text(display_text(batch.why)), ", ".join(batch.steps), duration(batch.seconds)
        )
    console.print(table)
    if len(plan.stale) > shown:
        console.print(f"and {len(plan.stale) - shown} more: pdfgc status --all")


def _failures() -> list[str]:
    """The last lines that the sensor failed_runs wrote."""
    from pipelines.operations.instance import HOME_VARIABLE
    from pipelines.operations.runs.failed_runs import FAILURES_NAME

    path = Path(os.environ.get(HOME_VARIABLE, "")) / FAILURES_NAME
    return path.read_text("utf-8").splitlines()[-FAILURES_SHOWN:] if path.is_file() else []


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"
