"""Verification of a root: everything that is published, and what it was made of."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from upath import UPath

from evaluation.comparison.baseline_runs import check_baseline_runs
from evaluation.generation.files import GENERATED_VIDEOS
from evaluation.report.sources import EVALUATIONS
from evaluation.report.summary import EVALUATION_REPORT
from preprocessing.integrity.catalog import check_catalog, check_lists, check_sources, expect_sources
from preprocessing.integrity.dataset import check_dataset
from preprocessing.orchestration.chosen_settings import check_chosen
from preprocessing.orchestration.reprocessing import check_saved_plans
from storage.gc.findings import shown_location
from storage.gc.scratch import CACHE
from storage.integrity.builds import BuildsFound, examine_builds
from storage.integrity.faults import REPAIR, Fault
from storage.integrity.reading import (
    DataRead,
    Expectation,
    Night,
    expect_object,
    forget_progress,
    read_data,
)
from storage.manifest import MANIFEST_NAME, Manifest
from storage.objects import is_local, read_sha256
from storage.publishing import ASSETS
from storage.root import scratch_directory
from training.engine.checkpoint_files import check_checkpoints
from training.stage_catalog import STAGE_NAMES
from weights.integrity import expect_weights

MAXIMUM_ROWS: Final = 200  # of the table in the UI


@dataclass(frozen=True)
class Verification:
    """What was checked, and every fault.

    Attributes:
        builds: Number of builds whose manifest was read.
        files: Number of files that these name; all were checked by name and size.
        size_bytes: Of these files.
        read: What was read again; None: only names and sizes were checked.
        unsealed: Manifests and pointers of earlier versions, without a sha256 of their own.
    """

    builds: int
    files: int
    size_bytes: int
    unsealed: int
    read: DataRead | None
    faults: tuple[Fault, ...]
    found: BuildsFound


def verify_root(
    root: UPath,
    *,
    night: Night | None = None,
    threads: int = 4,
    restart: bool = False,
    on_progress: Callable[[int, int], None] = lambda _, __: None,
) -> Verification:
    """Check pointers, manifests, names, sizes, references, catalog, data set, sources and records.

    Args:
        root: from `open_root`.
        night: the files whose sha256 is computed again; None: none.
        threads: files read at once.
        restart: begin with the first file even if an earlier run was interrupted.
        on_progress: called every few seconds with files and bytes read.
    """
    found = examine_builds(root)
    faults = [*found.faults, *check_catalog(root, found), *check_dataset(root, found), *check_sources(root)]
    faults += [*check_saved_plans(root), *check_chosen(root), *check_lists(root)]
    baseline_faults, expected = check_baseline_runs(root)
    scratch = scratch_directory(root)
    checkpoint_faults, checkpoints = check_checkpoints(scratch, lambda path: shown_location(root, path))
    faults += [*baseline_faults, *checkpoint_faults]
    records = [record for manifest in found.manifests.values() for record in manifest.files.values()]
    read = None
    if night is not None:
        if restart:
            forget_progress(root)
        wrong = {fault.path for fault in faults}
        everything = [*_expect_builds(root, found), *expected, *checkpoints, *expect_sources(root)]
        everything += [*_expect_copies(root, scratch), *expect_weights()]
        unknown = (each for each in everything if each.path not in wrong)
        read = read_data(root, unknown, night, threads=threads, on_progress=on_progress)
        faults += [
            fault.affecting(found.names_affected_by(fault.build)) if fault.build else fault
            for fault in read.faults
        ]
    return Verification(
        builds=len(found.manifests),
        files=len(records),
        size_bytes=sum(record.size_bytes for record in records),
        unsealed=sum(partition.unsealed for partition in found.partitions.values()),
        read=read,
        faults=tuple(map(_with_command, faults)),
        found=found,
    )


def _with_command(fault: Fault) -> Fault:
    """A fault of a training or an evaluation, which a repair sets aside but does not start again."""
    parts = (fault.build or fault.path).split("/")
    if fault.mend != REPAIR or parts[0] != ASSETS or len(parts) < 3:
        return fault
    asset, run = parts[1:3]
    if asset in STAGE_NAMES:
        command = f"pdfgc train {asset} --run {run}"
    elif asset in (GENERATED_VIDEOS, *EVALUATIONS, EVALUATION_REPORT):
        command = f"pdfgc evaluate --run {run}"
    else:
        return fault
    is_aside = fault.kind == "suspect" or not fault.build
    return replace(fault, mend=command if is_aside else f"{REPAIR}, then {command}")


def _expect_builds(root: UPath, found: BuildsFound) -> Iterator[Expectation]:
    for location, manifest in found.manifests.items():
        for name, record in manifest.files.items():
            yield expect_object(root, f"{location}/{name}", record.sha256, record.size_bytes, location)


def _expect_copies(root: UPath, scratch: Path) -> Iterator[Expectation]:
    """The files of local copies of a bucket's builds."""
    if is_local(root):
        return
    for path in sorted((scratch / CACHE).glob(f"*/{MANIFEST_NAME}")):
        manifest = Manifest.from_json(path.read_text("utf-8"))
        for name, record in manifest.files.items():
            copy = path.parent / name
            yield Expectation(
                str(copy),
                record.sha256,
                record.size_bytes,
                "copy",
                lambda copy=copy: read_sha256(UPath(copy)),
                mend=f"remove {path.parent}: it is downloaded again",
            )


def as_json_text(result: Verification) -> str:
    """The whole result as JSON."""
    values: dict[str, Any] = {
        "builds": result.builds,
        "files": result.files,
        "size_bytes": result.size_bytes,
        "without_own_sha256": result.unsealed,
        "read": None,
        "faults": [fault.as_json() for fault in result.faults],
    }
    if result.read is not None:
        values["read"] = {
            "files": result.read.files,
            "size_bytes": result.read.size_bytes,
            "seconds": round(result.read.seconds, 3),
            "resumed_files": result.read.resumed_files,
        }
    return json.dumps(values, indent=1)


def summary_line(result: Verification) -> str:
    """What was checked, in a line."""
    size = f"{result.size_bytes / 2**20:,.1f} MiB"
    line = f"checked {result.builds} builds, {result.files} files, {size}, by name and size"
    if result.read is not None:
        share = f"{result.read.size_bytes / 2**20:,.1f} MiB"
        line += f"; read {result.read.files} files, {share}"
        if result.read.resumed_files:
            line += f", of which {result.read.resumed_files} by an earlier run that was interrupted"
    return f"{line}; faults: {len(result.faults)}"


def markdown_table(result: Verification) -> str:
    """The faults as a table for the UI."""
    if not result.faults:
        return "No faults."
    rows = [f"- {fault.line()}" for fault in result.faults[:MAXIMUM_ROWS]]
    more = len(result.faults) - MAXIMUM_ROWS
    return "\n".join([*rows, *([f"- and {more} more: pdfgc verify --json"] if more > 0 else [])])


def counts_by_kind(result: Verification) -> dict[str, int]:
    """Number of faults of each kind."""
    return dict(Counter(fault.kind for fault in result.faults))
