"""The main job from the command line: scan, preprocess every batch, join; then a table of what came out.

It launches the very jobs that stand in the UI, on the same instance, so `pdfgc dev` shows these runs.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import AssetCheckSeverity, DagsterEventType, DagsterInstance, ExecuteInProcessResult
from rich.console import Console
from rich.table import Table
from upath import UPath

from pipelines.definitions import definitions
from pipelines.operations.dead_runs import clear_dead_runs, process_tags
from pipelines.operations.step_errors import step_error
from preprocessing.dataset.whole import DATASET, WHOLE
from preprocessing.orchestration.steps import STEPS
from preprocessing.sources.remote import SourcePath
from preprocessing.sources.source_videos import accepted_identities, batch_keys, load_catalog
from storage.publishing import Published, current
from storage.root import open_root


@dataclass(frozen=True)
class MainJob:
    """What to run."""

    folders: tuple[SourcePath, ...]  # beside those that the catalog knows
    force: bool = False
    workers: int = 0  # 0: one a core
    settings: Mapping[str, Any] | None = None  # of the resource `preprocessing`, as in the launchpad


def run_main_job(job: MainJob, console: Console) -> None:
    """Scan the folders, run every batch, join the data set, print the table.

    Raises:
        RuntimeError: a run failed; its error was logged and stands in the UI.
    """
    started = time.monotonic()
    root = open_root()
    with DagsterInstance.get() as instance:
        clear_dead_runs(instance)
        folders = [str(folder.absolute()) for folder in job.folders]
        console.print(f"[bold]Scanning[/bold] {', '.join(folders) or 'the known folders'}")
        _run("scan_sources", instance, job, {"sources": {"config": {"folders": folders}}})
        for key in batch_keys(root):
            console.print(f"[bold]Batch {key}[/bold]")
            resources = {"preprocessing": {"config": {"settings": dict(job.settings or {})}}}
            _run("preprocess", instance, job, resources, partition_key=key)
        console.print("[bold]Data set[/bold]")
        _run("index_dataset", instance, job, {})
    print_summary(root, time.monotonic() - started, console)


def _run(
    name: str,
    instance: DagsterInstance,
    job: MainJob,
    resources: Mapping[str, Any],
    partition_key: str | None = None,
) -> None:
    workspace = {"workspace": {"config": {"force": job.force, "workers": job.workers}}}
    result: ExecuteInProcessResult = definitions.resolve_job_def(name).execute_in_process(
        instance=instance,
        partition_key=partition_key,
        tags=process_tags(),
        run_config={
            "resources": workspace | dict(resources),
            "loggers": {"plain": {"config": {"log_level": "INFO"}}},
        },
        raise_on_error=False,
    )
    if not result.success:
        raise RuntimeError(f"run {result.run_id} of {name} failed. {why_failed(result)}")


def why_failed(result: ExecuteInProcessResult) -> str:
    """The first failed step and its error, as the step raised it; the UI holds the traceback."""
    for event in result.all_events:
        if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            looked = event.asset_check_evaluation_data
            if looked.blocking and not looked.passed and looked.severity == AssetCheckSeverity.ERROR:
                return f"{event.step_key}: {looked.check_name}: {looked.description}"
        if event.is_step_failure and (error := step_error(event)) is not None:
            return f"{event.step_key}: {error}"
    return "See the run in the UI (`make dev`)."


def print_summary(root: UPath, seconds: float, console: Console) -> None:
    """The table: videos, clips, refusals by reason, anchors, shards, time."""
    made = {
        name: [found for key in batch_keys(root) if (found := current(root, name, key)) is not None]
        for name in STEPS
    }
    catalog = load_catalog(root)
    assert catalog is not None
    refused_files = Counter(reason for reason in catalog["reason"].to_pylist() if reason)
    table = Table(title="What came out")
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_column("refused, by reason")
    accepted = catalog.num_rows - sum(refused_files.values())
    table.add_row("videos", f"{accepted}", _reasons(refused_files))
    table.add_row("identities", f"{len(accepted_identities(catalog))}", "")
    table.add_row(
        "videos read", _sum(made["face_tracks"], "videos"), _reasons(_refusals(made["face_tracks"]))
    )
    table.add_row("frames tracked", _sum(made["face_tracks"], "frames"), "")
    table.add_row("clips", _sum(made["clips"], "clips"), _reasons(_refusals(made["clips"])))
    table.add_row(
        "eye anchors", _sum(made["eye_anchors"], "anchors"), _reasons(_refusals(made["eye_anchors"]))
    )
    table.add_row("samples", _sum(made["shards"], "samples"), _reasons(_refusals(made["shards"])))
    table.add_row("shards", _sum(made["shards"], "shards"), f"{_bytes(made['shards'])}")
    table.add_row("time", f"{seconds:.1f} s", _times(made))
    console.print(table)
    dataset = current(root, DATASET, WHOLE)
    if dataset is not None:
        console.print(f"Data set: {dataset.directory}", soft_wrap=True)
    console.print("`make dev` (or `pdfgc dev`) shows it all in Dagster's UI.")


def _sum(published: Sequence[Published], name: str) -> str:
    return f"{sum(found.manifest.counts[name] for found in published):,}"


def _refusals(published: Sequence[Published]) -> Counter[str]:
    total: Counter[str] = Counter()
    for found in published:
        total.update(found.manifest.refusals)
    return total


def _reasons(refusals: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in refusals.most_common())


def _bytes(published: Sequence[Published]) -> str:
    return f"{sum(found.manifest.counts['bytes'] for found in published) / 2**20:,.1f} MiB"


def _times(made: Mapping[str, Sequence[Published]]) -> str:
    """Seconds that each step took when it was last built."""
    times = {name: sum(found.manifest.seconds for found in published) for name, published in made.items()}
    return ", ".join(f"{name} {seconds:.1f}" for name, seconds in times.items())
