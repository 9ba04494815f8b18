"""Training samples per second of our loader compared with others, on the same crops of one root.

A sample is that of stage 1: two random frames of a clip, uint8 [3, 224, 224] each. Every loader decodes with
the same function, in the same number of workers, and yields batches of the same size; the consumer copies
each batch, as the transfer to a device does. All loaders run at the same time and are timed in turn, each
round starting with another one; before a turn is timed, prefetched batches are dropped. Files are in the
page cache. A ratio is the median over the rounds of our rate / the loader's rate in the same round.

"decoding alone" decodes JPEG files from memory, in one process, without batches. CPU milliseconds per sample
are those of this process and the loader's processes: on a shared machine they vary less.

    python -m benchmarks.training.loader ROOT [--json FILE]
    uv pip install litdata mosaicml-streaming -c requirements/lock.txt   # the peers that are not in the lock
"""

import itertools
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import psutil
import torch
from torch import Tensor
from upath import UPath

from benchmarks.measuring import show, write_json
from benchmarks.training.loader_peers import (
    LOADERS,
    PREFETCH_BATCHES,
    LoaderTask,
    pictures_of,
    read_jpegs,
    write_layouts,
)
from training.data.index import open_current
from training.data.loader import BatchStream, LoaderSettings
from training.data.shard_reader import ReaderSettings, decode_image
from training.data.sources import ClipPairSettings, ClipPairSource

OURS, OURS_UNCACHED, FLOOR = "ours", "ours, without cache", "decoding alone"
PACKAGES = ("torch", "torchvision", "webdataset", "litdata", "mosaicml-streaming", "numpy")
PAUSE_SECONDS = 0.3  # for the workers of the last turn to fill their queues and become idle


@dataclass(frozen=True)
class RunningLoader:
    """A running loader."""

    take: Callable[[int], None]  # takes that many batches
    processes: tuple[psutil.Process, ...]  # other than this one

    def cpu_seconds(self) -> float:
        """CPU seconds of this process and of the loader's processes so far."""
        times = [process.cpu_times() for process in (psutil.Process(), *self.processes)]
        return sum(usage.user + usage.system for usage in times)


@dataclass(frozen=True)
class LoaderSpeed:
    """One turn of one loader."""

    samples_per_second: float
    cpu_milliseconds_per_sample: float


def ours(task: LoaderTask, directories_kept: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Our loader; with one cached directory it behaves as on a data set far larger than its cache."""
    settings = LoaderSettings(
        batch_size=task.batch_size,
        workers=task.workers,
        prefetch_batches=PREFETCH_BATCHES,
        reader=ReaderSettings(directories_kept=directories_kept),
    )
    # As the other loaders: two frames of a clip, without its labels.
    pairs = ClipPairSettings(appearance_from="clip", prefer_apart=1, balance_events=False)
    stream = BatchStream(ClipPairSource(task.index, pairs), settings)
    return ((batch.appearance, batch.driving) for batch in stream)


def take_batches(batches: Iterator[tuple[Tensor, Tensor]], task: LoaderTask) -> Callable[[int], None]:
    """Take batches as a training step does, reading every byte."""
    device = torch.zeros((2, task.batch_size, 3, 224, 224), dtype=torch.uint8)

    def take(count: int) -> None:
        for appearance, driving in itertools.islice(batches, count):
            device[0].copy_(appearance)
            device[1].copy_(driving)

    return take


def decode_alone(task: LoaderTask) -> Callable[[int], None]:
    """Decode pairs of frames from memory."""
    jpegs = itertools.cycle(
        [jpeg for clip in range(len(task.index)) for jpeg in read_jpegs(task.index, clip)]
    )

    def take(count: int) -> None:
        for jpeg in itertools.islice(jpegs, 2 * task.batch_size * count):
            decode_image(jpeg)

    return take


def start(task: LoaderTask, names: list[str]) -> dict[str, RunningLoader]:
    """Start every loader and take its first batch."""
    loads: dict[str, Callable[[], Callable[[int], None]]] = {
        OURS: lambda: take_batches(ours(task, ReaderSettings().directories_kept), task),
        OURS_UNCACHED: lambda: take_batches(ours(task, 1), task),
    }
    loads |= {
        name: lambda name=name: take_batches(map(pictures_of, LOADERS[name].load(task)), task)
        for name in names
    }
    if not task.workers:
        loads[FLOOR] = lambda: decode_alone(task)
    loaders: dict[str, RunningLoader] = {}
    for name, load in loads.items():
        before = set(psutil.Process().children(recursive=True))
        take = load()
        take(1)
        own = set(psutil.Process().children(recursive=True)) - before
        loaders[name] = RunningLoader(take, tuple(own))
    return loaders


def measure(
    loaders: dict[str, RunningLoader], task: LoaderTask, rounds: int, seconds: float
) -> dict[str, list[LoaderSpeed]]:
    """Time the loaders in turns of at least `seconds`; the first round only warms up."""
    speeds: dict[str, list[LoaderSpeed]] = {name: [] for name in loaders}
    names = list(loaders)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            speed = take_turn(loaders[name], task, seconds)
            if number:
                speeds[name].append(speed)
    return speeds


def take_turn(loader: RunningLoader, task: LoaderTask, seconds: float) -> LoaderSpeed:
    """Drop prefetched batches, then time whole rounds of the workers until `seconds` have passed."""
    time.sleep(PAUSE_SECONDS if task.workers else 0.0)
    loader.take(task.workers * PREFETCH_BATCHES + 1)
    batches, step = 0, 2 * max(task.workers, 1)
    start_seconds, cpu = time.perf_counter(), loader.cpu_seconds()
    while (wall := time.perf_counter() - start_seconds) < seconds:
        loader.take(step)
        batches += step
    samples = batches * task.batch_size
    return LoaderSpeed(samples / wall, 1000 * (loader.cpu_seconds() - cpu) / samples)


def summarise(speeds: dict[str, list[LoaderSpeed]]) -> dict[str, dict[str, float]]:
    """Median and range of every loader, and of the ratio of ours to it in the same round."""
    results: dict[str, dict[str, float]] = {}
    for name, own in speeds.items():
        rates = [speed.samples_per_second for speed in own]
        ratios = [mine.samples_per_second / rate for mine, rate in zip(speeds[OURS], rates, strict=True)]
        results[name] = {
            "samples_per_second": statistics.median(rates),
            "samples_per_second_lowest": min(rates),
            "samples_per_second_highest": max(rates),
            "ours_over_it": statistics.median(ratios),
            "ours_over_it_lowest": min(ratios),
            "ours_over_it_highest": max(ratios),
            "cpu_ms_per_sample": statistics.median(speed.cpu_milliseconds_per_sample for speed in own),
        }
    return results


def show_results(results: dict[int, dict[str, dict[str, float]]], title: str) -> None:
    """Show one table for all numbers of workers."""
    rows = [
        (
            f"{workers} workers: {name}",
            f"{values['samples_per_second']:.0f}",
            f"{values['samples_per_second_lowest']:.0f}-{values['samples_per_second_highest']:.0f}",
            f"{values['ours_over_it']:.2f}",
            f"{values['ours_over_it_lowest']:.2f}-{values['ours_over_it_highest']:.2f}",
            f"{values['cpu_ms_per_sample']:.2f}",
        )
        for workers, variants in results.items()
        for name, values in variants.items()
    ]
    show(title, ("loader", "samples/s", "range", "ours / it", "range", "CPU ms"), rows)


def installed() -> dict[str, str]:
    """Versions of the packages."""
    versions: dict[str, str] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return versions


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.option("--batch-size", default=32)
@click.option("--workers", "worker_counts", multiple=True, default=(0, 2), help="Workers (repeatable).")
@click.option("--rounds", default=9, help="Timed turns of every loader, after one to warm up.")
@click.option("--seconds", default=0.7, help="Minimum length of a turn.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(
    root: Path,
    batch_size: int,
    worker_counts: tuple[int, ...],
    rounds: int,
    seconds: float,
    json_path: Path | None,
) -> None:
    """Compare our loader with others on the training split of ROOT."""
    torch.set_num_threads(1)  # as in a worker
    index = open_current(UPath(root), "train")
    names = [name for name, loader in LOADERS.items() if loader.present()]
    results: dict[int, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        layouts = Path(folder) / "layouts"
        layouts.mkdir()
        write_layouts(index, layouts, names)
        for workers in worker_counts:
            # A path per run: Streaming does not allow two data sets in one folder.
            place = Path(folder) / f"{workers}"
            place.symlink_to(layouts)
            task = LoaderTask(index, place, batch_size, workers)
            results[workers] = summarise(measure(start(task, names), task, rounds, seconds))
    title = f"{len(index)} clips, batches of {batch_size}, {rounds} rounds"
    show_results(results, title)
    for name in sorted(set(LOADERS) - set(names)):
        click.echo(f"absent, not measured: {name} (needs the package {LOADERS[name].package})")
    facts: dict[str, Any] = {"clips": len(index), "frames": int(index.frame_counts.sum())}
    facts |= {"batch_size": batch_size, "rounds": rounds, "seconds_per_turn": seconds}
    facts |= {"packages": installed(), "machine": platform.machine(), "workers": results}
    write_json(json_path, facts)


if __name__ == "__main__":
    main()
