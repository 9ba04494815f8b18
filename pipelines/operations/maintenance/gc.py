"""Garbage collection of unreferenced builds: find, remove, report; for the terminal and for Dagster."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text
from upath import UPath

from evaluation.comparison.baseline_runs import BASELINE_NAME, BASELINES_FOLDER, builds_of_baselines
from pipelines.cli.evaluation.app import OUTPUTS_NAME
from pipelines.operations.maintenance.gc_settings import GcSettings
from preprocessing.orchestration.reprocessing import PLAN_FOLDER
from preprocessing.orchestration.steps import STEPS
from preprocessing.sources.stored_catalog import CATALOG_FOLDER, CATALOG_NAME, batch_keys
from storage.gc.findings import Finding, Layout, RetentionWindow, Unreferenced
from storage.gc.removal import Removal, remove_findings
from storage.gc.unreferenced import find_unreferenced
from storage.integrity.quarantine import QUARANTINE
from storage.printable import printable
from training.engine.checkpoint_copies import COPIES_FOLDER

LAYOUT: Final = Layout(
    records={BASELINES_FOLDER: BASELINE_NAME},
    redrawn=frozenset({"pictures"}),  # by `pipelines.preprocessing.pictures`
    ignored=frozenset(
        {CATALOG_FOLDER, PLAN_FOLDER, OUTPUTS_NAME, COPIES_FOLDER, "dagster", "demo_corpus", QUARANTINE}
    ),
    ignored_scratch=frozenset({"catalog.lock", CATALOG_NAME, "sources", "shard_cache", "frame_features"}),
)
MAXIMUM_ROWS: Final = 200  # of the table in the UI
MAXIMUM_LINES: Final = 20
MAXIMUM_BATCHES: Final = 4  # named in one line


@dataclass(frozen=True)
class GcResult:
    """What was found, and what was removed (None: nothing was to be removed)."""

    unreferenced: Unreferenced
    notes: tuple[str, ...]  # about what is left alone
    removal: Removal | None


def run_gc(
    root: UPath,
    settings: GcSettings,
    *,
    remove: bool,
    on_found: Callable[[Unreferenced, Sequence[str]], None] = lambda _, __: None,
) -> GcResult:
    """Find unreferenced builds and leftovers, and remove them if asked to.

    Args:
        root: from `open_root`.
        settings: what is kept.
        remove: remove them; otherwise they are only listed.
        on_found: called with the findings and notes before anything is removed.

    Raises:
        ValueError: a manifest, pointer or record is damaged, so that references are not known.
    """
    window = RetentionWindow.of(settings.keep_days)
    roots = partial(builds_of_baselines, root, settings.keep_baselines)
    unreferenced = find_unreferenced(root, roots, LAYOUT, window)
    notes = tuple(f"{location}: unknown, left alone" for location in unreferenced.unknown)
    notes += _batches_without_videos(root, unreferenced)
    on_found(unreferenced, notes)
    removal = remove_findings(root, unreferenced, roots, LAYOUT, window) if remove else None
    return GcResult(unreferenced, notes, removal)


def as_json_text(result: GcResult) -> str:
    """The whole result as JSON."""
    unreferenced, removal = result.unreferenced, result.removal
    values: dict[str, Any] = {
        "found": [_as_json(finding) for finding in unreferenced.findings],
        "size_bytes": unreferenced.size_bytes,
        "kept": dict(unreferenced.kept),
        "left_alone": list(result.notes),
    }
    if removal is not None:
        values["removed"] = [finding.location for finding in removal.removed]
        values["removed_bytes"] = sum(finding.size_bytes for finding in removal.removed)
        values["skipped"] = {finding.location: reason for finding, reason in removal.skipped}
    return json.dumps(values, indent=1)


def print_findings(unreferenced: Unreferenced, notes: Sequence[str], console: Console) -> None:
    """Print a table of findings, why other old builds are kept, and what is left alone."""
    if unreferenced.findings:
        table = Table(title="Unreferenced", title_justify="left", show_footer=True)
        table.add_column("location", overflow="fold", footer=f"{len(unreferenced.findings)} in total")
        table.add_column("reason", overflow="fold")
        table.add_column("size", justify="right", footer=decimal(unreferenced.size_bytes))
        for finding in unreferenced.findings:
            table.add_row(
                Text(printable(finding.location)), Text(finding.reason), decimal(finding.size_bytes)
            )
        console.print(table)
    else:
        console.print("nothing to remove: everything is current, recent or referenced")
    for line in note_lines(unreferenced, notes):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def note_lines(unreferenced: Unreferenced, notes: Sequence[str]) -> list[str]:
    """Why old builds are kept, and what is left alone; long lists are shortened."""
    kept = [f"kept: {location}: {reason}" for location, reason in unreferenced.kept.items()]
    return [printable(line) for line in (*_shortened(kept), *_shortened(notes))]


def print_removal(removal: Removal, console: Console) -> None:
    """Print how much was removed, and what was skipped."""
    freed = decimal(sum(finding.size_bytes for finding in removal.removed))
    console.print(f"removed {len(removal.removed)}, {freed}", highlight=False)
    for finding, reason in removal.skipped:
        line = printable(f"skipped: {finding.location}: {reason}")
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def markdown_table(result: GcResult) -> str:
    """The first findings as Markdown, with what was done with each."""
    outcomes: dict[str, str] = {}
    if result.removal is not None:
        outcomes |= {finding.location: "removed" for finding in result.removal.removed}
        outcomes |= {finding.location: f"skipped: {reason}" for finding, reason in result.removal.skipped}
    findings = result.unreferenced.findings
    rows = [
        f"| {printable(finding.location)} | {finding.reason} | {decimal(finding.size_bytes)} "
        f"| {outcomes.get(finding.location, '')} |"
        for finding in findings[:MAXIMUM_ROWS]
    ]
    more = len(findings) - MAXIMUM_ROWS
    end = [f"\nand {more} more"] if more > 0 else []
    return "\n".join(["| location | reason | size | |", "|---|---|---:|---|", *rows, *end])


def counts_by_kind(unreferenced: Unreferenced) -> dict[str, int]:
    """Number of findings of each kind."""
    return dict(Counter(finding.kind for finding in unreferenced.findings))


def _batches_without_videos(root: UPath, unreferenced: Unreferenced) -> tuple[str, ...]:
    """A note on published batches that the catalog does not have; their current builds are left alone."""
    known = set(batch_keys(root))
    names = sorted({name for asset, name in unreferenced.partitions if asset in STEPS and name not in known})
    if not names:
        return ()
    more = f" and {len(names) - MAXIMUM_BATCHES} more" if len(names) > MAXIMUM_BATCHES else ""
    shown = ", ".join(names[:MAXIMUM_BATCHES])
    return (f"not in the catalog: batch {shown}{more}; their current builds are left alone",)


def _shortened(lines: Sequence[str]) -> list[str]:
    more = len(lines) - MAXIMUM_LINES
    end = [f"and {more} more (pdfgc gc --json lists all)"] if more > 0 else []
    return [*lines[:MAXIMUM_LINES], *end]


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "location": finding.location,
        "reason": finding.reason,
        "size_bytes": finding.size_bytes,
    }
