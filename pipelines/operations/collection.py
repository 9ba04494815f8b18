"""Collecting what nothing refers to: found, removed where asked, told; for the terminal and for Dagster."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text
from upath import UPath

from evaluation.comparison.references import find_references
from pipelines.cli.app import OUTPUTS_NAME
from pipelines.operations.collection_settings import CollectionSettings
from preprocessing.orchestration.reprocessing import PLAN_FOLDER
from preprocessing.sources.stored_catalog import CATALOG_FOLDER, CATALOG_NAME
from storage.gc.findings import Finding, Garbage, Moment
from storage.gc.removal import Removal, remove_garbage
from storage.gc.unreferenced import find_garbage

KNOWN: Final = frozenset({CATALOG_FOLDER, PLAN_FOLDER, OUTPUTS_NAME, "dagster", "demo_corpus"})
"""Names below the root that are somebody's own."""
DRAWN: Final = frozenset({"pictures"})  # by `pipelines.preprocessing.pictures`
KNOWN_SCRATCH: Final = frozenset({"catalog.lock", CATALOG_NAME, "sources"})
MOST_ROWS: Final = 200  # in the UI
MOST_LINES: Final = 20


@dataclass(frozen=True)
class Collection:
    """What was found, and what became of it; `removal` is None where nothing was to be removed."""

    garbage: Garbage
    removal: Removal | None


def collect(
    root: UPath,
    settings: CollectionSettings,
    *,
    remove: bool,
    found: Callable[[Garbage], None] = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
) -> Collection:
    """Find what nothing refers to, and remove it where asked.

    Args:
        root: from `open_root`.
        settings: what is kept.
        remove: else it is only told.
        found: is told all of it before anything is removed.
        progress: takes a line for each thing that is removed or spared.

    Raises:
        ValueError: something is damaged on which it hangs what is referred to.
    """
    moment = Moment.of(settings.keep_days)
    references = find_references(
        root, settings.keep_accepted, drawn=DRAWN, known=KNOWN, known_scratch=KNOWN_SCRATCH
    )
    garbage = find_garbage(root, references, moment)
    found(garbage)
    removal = remove_garbage(root, garbage, references, moment, progress) if remove else None
    return Collection(garbage, removal)


def as_json_text(collection: Collection) -> str:
    """Everything as JSON."""
    garbage, removal = collection.garbage, collection.removal
    told: dict[str, Any] = {
        "found": [_plain(finding) for finding in garbage.findings],
        "size_bytes": garbage.size_bytes,
        "kept": dict(garbage.kept),
        "left_alone": list(garbage.left_alone),
    }
    if removal is not None:
        told["removed"] = [finding.location for finding in removal.removed]
        told["removed_bytes"] = sum(finding.size_bytes for finding in removal.removed)
        told["spared"] = {finding.location: why for finding, why in removal.spared}
    return json.dumps(told, indent=1)


def print_garbage(garbage: Garbage, console: Console) -> None:
    """Print a row for each finding, what old builds are kept for, and what is left alone."""
    if garbage.findings:
        table = Table(title="Nothing refers to these", title_justify="left", show_footer=True)
        table.add_column("what", overflow="fold", footer=f"{len(garbage.findings)} in all")
        table.add_column("why", overflow="fold")
        table.add_column("size", justify="right", footer=decimal(garbage.size_bytes))
        for finding in garbage.findings:
            table.add_row(Text(finding.location), Text(finding.why), decimal(finding.size_bytes))
        console.print(table)
    else:
        console.print("nothing to collect: everything is current, young or referred to")
    for line in told_lines(garbage):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def told_lines(garbage: Garbage) -> list[str]:
    """What old builds are kept for, and what is left alone; of many the first."""
    kept = [f"kept: {location}: {why}" for location, why in garbage.kept.items()]
    return [*_first(kept), *_first(garbage.left_alone)]


def print_removal(removal: Removal, console: Console) -> None:
    """Print how much is gone, and what was spared at the last moment."""
    freed = decimal(sum(finding.size_bytes for finding in removal.removed))
    console.print(f"removed {len(removal.removed)}, {freed}", highlight=False)
    for finding, why in removal.spared:
        console.print(f"spared: {finding.location}: {why}", markup=False, highlight=False, soft_wrap=True)


def markdown_table(collection: Collection) -> str:
    """The first rows as Markdown, with what became of each."""
    became: dict[str, str] = {}
    if collection.removal is not None:
        became |= {finding.location: "removed" for finding in collection.removal.removed}
        became |= {finding.location: f"spared: {why}" for finding, why in collection.removal.spared}
    findings = collection.garbage.findings
    rows = [
        f"| {one.location} | {one.why} | {decimal(one.size_bytes)} | {became.get(one.location, '')} |"
        for one in findings[:MOST_ROWS]
    ]
    more = len(findings) - MOST_ROWS
    end = [f"\nand {more} more"] if more > 0 else []
    return "\n".join(["| what | why | size | |", "|---|---|---:|---|", *rows, *end])


def counts(garbage: Garbage) -> dict[str, int]:
    """How many findings of each kind."""
    return dict(Counter(finding.kind for finding in garbage.findings))


def _first(lines: Sequence[str]) -> list[str]:
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], *([f"and {more} more (pdfgc gc --json tells all)"] if more > 0 else [])]


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "location": finding.location,
        "why": finding.why,
        "size_bytes": finding.size_bytes,
    }
