"""The command `pdfgc preprocess`: scan, preprocess every batch, join the data set; then a summary."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from preprocessing.sources.remote import SourcePath, source_path
from storage.printable import display_lines, display_text

if TYPE_CHECKING:
    from rich.console import Console
    from upath import UPath

    from storage.publishing import Published


class VideoFolder(click.ParamType[SourcePath]):
    """A folder of videos or s3://bucket/prefix; `click.Path` would drop a slash of the URL."""

    name = "path"

    def convert(  # pyright: ignore[reportImplicitOverride]
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> SourcePath:
        """A local path or a location in a bucket."""
        try:
            return source_path(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


force_option = click.option("--force", is_flag=True, help="Rebuild everything, even what is up to date.")
retry_option = click.option(
    "--retry", is_flag=True, help="Try videos again that failed or could not be read, however often."
)
workers_option = click.option(
    "--workers", type=click.IntRange(min=0), default=0, help="Worker processes.  [default: one per core]"
)


@click.command()
@click.argument("folders", type=VideoFolder(), nargs=-1)
@force_option
@retry_option
@workers_option
def preprocess(folders: tuple[SourcePath, ...], force: bool, retry: bool, workers: int) -> None:
    """Scan FOLDERS and bring the shards of every batch up to date.

    Folders that were scanned before are scanned again without being named. The first level of folders names
    the person: FOLDER/person/.../clip.mp4; each file directly in FOLDER is a person of its own. A folder may
    be s3://bucket/prefix.

    A batch that fails does not keep the others and the data set from being made; the exit status is then 1.
    """
    from rich.console import Console

    from pipelines.console import use_one_thread

    use_one_thread()
    from pipelines.console import without_chatter

    with without_chatter():
        run_preprocessing(PreprocessRequest(folders, force, workers, retry=retry), Console())


@dataclass(frozen=True)
class PreprocessRequest:
    """What to preprocess."""

    folders: tuple[SourcePath, ...]  # in addition to those of the catalog
    force: bool = False
    workers: int = 0  # 0: one per core
    settings: Mapping[str, Any] | None = None  # of steps by their names, as in the launchpad
    dataset_settings: Mapping[str, Any] | None = None  # of the resource `dataset_config`
    with_summary: bool = True  # print a table at the end
    retry: bool = False  # videos that failed or could not be read


def run_preprocessing(request: PreprocessRequest, console: "Console") -> None:
    """Run the jobs that scan the folders, preprocess every batch and join the data set; print a summary.

    Raises:
        FileNotFoundError: a folder does not exist.
        JobFailedError: a job failed. If it was that of a batch, all others ran, and the data set was made.
    """
    from dagster import DagsterInstance
    from rich.markup import escape

    from pipelines.operations.instance import ensure_dagster_home
    from pipelines.operations.runs.local_runs import JobFailedError, run_job
    from pipelines.preprocessing.source_videos import require_folder
    from preprocessing.sources.stored_catalog import batch_keys
    from storage.publishing import current
    from storage.root import open_root

    for folder in request.folders:
        require_folder(folder)
    ensure_dagster_home()
    started = time.monotonic()
    root = open_root()
    execution = {"force": request.force, "retry": request.retry, "workers": request.workers}
    workspace = {"workspace": {"config": execution}}
    failed: list[str] = []
    with DagsterInstance.get() as instance:
        folders = [str(folder.absolute()) for folder in request.folders]
        names = escape(display_text(", ".join(folders))) or "the known folders"
        console.print(f"[bold]Scanning[/bold] {names}")
        run_job("scan_sources", instance, workspace | {"sources": {"config": {"folders": folders}}})
        keys = batch_keys(root)
        for key in keys:
            console.print(f"[bold]Batch {key}[/bold]")
            steps = {step: {"config": form} for step, form in (request.settings or {}).items()}
            try:
                run_job("preprocess", instance, workspace, steps, partition_key=key)
            except JobFailedError as error:
                console.print(display_lines(error), markup=False, soft_wrap=True)
                failed.append(f"batch {key}: {error}")
        if failed and not any(current(root, "shards", key) for key in keys):
            raise JobFailedError("; ".join(failed))
        console.print("[bold]Data set[/bold]")
        settings = {"dataset_config": {"config": dict(request.dataset_settings or {})}}
        run_job("index_dataset", instance, workspace | settings)
    if request.with_summary:
        print_summary(root, time.monotonic() - started, console)
    if failed:
        raise JobFailedError(f"{len(failed)} of {len(keys)} batches failed. {'; '.join(failed)}")


def print_summary(root: "UPath", seconds: float, console: "Console") -> None:
    """Print counts of videos, clips, anchors and shards, rejections by reason, and times."""
    from rich.table import Table

    from preprocessing.dataset.index import DATASET, WHOLE
    from preprocessing.orchestration.steps import STEPS
    from preprocessing.sources.stored_catalog import accepted_identities, batch_keys, load_catalog
    from storage.publishing import current

    builds = {
        name: [build for key in batch_keys(root) if (build := current(root, name, key)) is not None]
        for name in STEPS
    }
    catalog = load_catalog(root)
    assert catalog is not None
    refused_files = Counter(reason for reason in catalog["reason"].to_pylist() if reason)
    table = Table(title="Summary")
    table.add_column("")
    table.add_column("count", justify="right")
    table.add_column("refused, by reason")
    accepted = catalog.num_rows - sum(refused_files.values())
    table.add_row("videos", f"{accepted}", _reasons(refused_files))
    table.add_row("identities", f"{len(accepted_identities(catalog))}", "")
    for label, step, count in (
        ("videos decoded", "face_tracks", "videos"),
        ("frames tracked", "face_tracks", "frames"),
        ("clips", "clips", "clips"),
        ("eye anchors", "eye_anchors", "anchors"),
        ("samples", "shards", "samples"),
    ):
        refusals = "" if count == "frames" else _reasons(_refusals(builds[step]))
        table.add_row(label, _sum(builds[step], count), refusals)
    mebibytes = sum(build.manifest.counts["bytes"] for build in builds["shards"]) / 2**20
    table.add_row("shards", _sum(builds["shards"], "shards"), f"{mebibytes:,.1f} MiB")
    table.add_row("time", f"{seconds:.1f} s", _times(builds))
    console.print(table)
    for line in retry_lines(refused_files + _refusals(builds["face_tracks"])):
        console.print(line, soft_wrap=True)
    dataset = current(root, DATASET, WHOLE)
    if dataset is not None:
        console.print(f"Data set: {display_text(dataset.directory)}", soft_wrap=True, markup=False)
    console.print("View it in Dagster's UI: pdfgc dev")


def retry_lines(refusals: Counter[str]) -> list[str]:
    """How many videos could not be read for a reason other than their content, and what to do."""
    from preprocessing.faces.retries import RETRIED_REASONS

    unread = Counter({reason: count for reason, count in refusals.items() if reason in RETRIED_REASONS})
    if not unread:
        return []
    return [f"Could not be read: {_reasons(unread)}. Try them again: pdfgc preprocess --retry"]


def _sum(builds: "Sequence[Published]", count: str) -> str:
    return f"{sum(build.manifest.counts[count] for build in builds):,}"


def _refusals(builds: "Sequence[Published]") -> Counter[str]:
    total: Counter[str] = Counter()
    for build in builds:
        total.update(build.manifest.refusals)
    return total


def _reasons(refusals: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in refusals.most_common())


def _times(builds: "Mapping[str, Sequence[Published]]") -> str:
    """Seconds that each step took when it was last built."""
    times = {name: sum(build.manifest.seconds for build in published) for name, published in builds.items()}
    return ", ".join(f"{name} {seconds:.1f}" for name, seconds in times.items())
