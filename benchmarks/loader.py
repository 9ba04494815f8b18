"""Training-ready samples a second of our loader against others, on the same crops of one root.

A sample is a stage-1 row: two random frames of a clip, uint8 [3, 224, 224] each. Every loader decodes with
the same function, in as many workers, and hands out batches of the same size; the consumer copies each
batch into memory of its own, as the transfer to a device reads it. All loaders are up at once and take
turns, each round from another one on; before a turn is timed, as many batches are dropped as could lie
ready. Files are in the page cache. A ratio is the median over the rounds of ours over that of the same round.

"decoding alone" decodes JPEG files held in memory, in one process, and makes no batch. CPU milliseconds a
sample are of this process and the loader's own: on a shared machine the steadier figure.

    python -m benchmarks.loader ROOT [--json FILE]
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

from benchmarks.loader_peers import LOADERS, PREFETCH_BATCHES, Task, pictures_of, read_jpegs, write_layouts
from benchmarks.measuring import show, write_json
from training.data.index import open_current
from training.data.loader import BatchStream, LoaderSettings
from training.data.shard_reader import ReaderSettings, decode_picture
from training.data.sources import ClipPairSettings, ClipPairSource

OURS, OURS_MANY, FLOOR = "ours", "ours, nothing remembered", "decoding alone"
PACKAGES = ("torch", "torchvision", "webdataset", "litdata", "mosaicml-streaming", "numpy")
PAUSE_SECONDS = 0.3  # for the workers of the last turn to fill their queues and fall asleep


@dataclass(frozen=True)
class Contestant:
    """A loader that is up."""

    take: Callable[[int], None]  # so many batches
    processes: tuple[psutil.Process, ...]  # beside this one

    def cpu_seconds(self) -> float:
        """Of this process and the loader's own, so far."""
        times = [process.cpu_times() for process in (psutil.Process(), *self.processes)]
        return sum(one.user + one.system for one in times)


@dataclass(frozen=True)
class Speed:
    """One turn of one loader."""

    samples_per_second: float
    cpu_milliseconds_per_sample: float


def ours(task: Task, directories_kept: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Our loader; with one directory kept it is as on a data set of far more clips than it remembers."""
    settings = LoaderSettings(
        batch_size=task.batch_size,
        workers=task.workers,
        prefetch_batches=PREFETCH_BATCHES,
        reader=ReaderSettings(directories_kept=directories_kept),
    )
    stream = BatchStream(ClipPairSource(task.index, ClipPairSettings()), settings)
    return ((batch.appearance, batch.driving) for batch in stream)


def take_batches(batches: Iterator[tuple[Tensor, Tensor]], task: Task) -> Callable[[int], None]:
    """Take batches as a training step does: read every byte of each."""
    device = torch.zeros((2, task.batch_size, 3, 224, 224), dtype=torch.uint8)

    def take(count: int) -> None:
        for one, two in itertools.islice(batches, count):
            device[0].copy_(one)
            device[1].copy_(two)

    return take


def decode_alone(task: Task) -> Callable[[int], None]:
    """Decode pairs of frames held in memory."""
    jpegs = itertools.cycle(
        [jpeg for clip in range(len(task.index)) for jpeg in read_jpegs(task.index, clip)]
    )

    def take(count: int) -> None:
        for jpeg in itertools.islice(jpegs, 2 * task.batch_size * count):
            decode_picture(jpeg)

    return take


def start(task: Task, names: list[str]) -> dict[str, Contestant]:
    """Every loader, up and with its first batch taken."""
    loads: dict[str, Callable[[], Callable[[int], None]]] = {
        OURS: lambda: take_batches(ours(task, ReaderSettings().directories_kept), task),
        OURS_MANY: lambda: take_batches(ours(task, 1), task),
    }
    loads |= {
        name: lambda name=name: take_batches(map(pictures_of, LOADERS[name].load(task)), task)
        for name in names
    }
    if not task.workers:
        loads[FLOOR] = lambda: decode_alone(task)
    contestants: dict[str, Contestant] = {}
    for name, load in loads.items():
        before = set(psutil.Process().children(recursive=True))
        take = load()
        take(1)
        own = set(psutil.Process().children(recursive=True)) - before
        contestants[name] = Contestant(take, tuple(own))
    return contestants


def measure(
    contestants: dict[str, Contestant], task: Task, rounds: int, seconds: float
) -> dict[str, list[Speed]]:
    """Let the loaders take turns of at least `seconds`; the first round only warms up."""
    speeds: dict[str, list[Speed]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            speed = take_turn(contestants[name], task, seconds)
            if number:
                speeds[name].append(speed)
    return speeds


def take_turn(loader: Contestant, task: Task, seconds: float) -> Speed:
    """Drop what may lie ready, then time whole rounds of the workers until `seconds` are over."""
    time.sleep(PAUSE_SECONDS if task.workers else 0.0)
    loader.take(task.workers * PREFETCH_BATCHES + 1)
    batches, step = 0, 2 * max(task.workers, 1)
    start_seconds, cpu = time.perf_counter(), loader.cpu_seconds()
    while (wall := time.perf_counter() - start_seconds) < seconds:
        loader.take(step)
        batches += step
    samples = batches * task.batch_size
    return Speed(samples / wall, 1000 * (loader.cpu_seconds() - cpu) / samples)


def summarise(speeds: dict[str, list[Speed]]) -> dict[str, dict[str, float]]:
    """Median and range of every loader, and ours over it round by round."""
    figures: dict[str, dict[str, float]] = {}
    for name, own in speeds.items():
        rates = [speed.samples_per_second for speed in own]
        ratios = [mine.samples_per_second / rate for mine, rate in zip(speeds[OURS], rates, strict=True)]
        figures[name] = {
            "samples_per_second": statistics.median(rates),
            "samples_per_second_lowest": min(rates),
            "samples_per_second_highest": max(rates),
            "ours_over_it": statistics.median(ratios),
            "ours_over_it_lowest": min(ratios),
            "ours_over_it_highest": max(ratios),
            "cpu_ms_per_sample": statistics.median(speed.cpu_milliseconds_per_sample for speed in own),
        }
    return figures


def show_figures(figures: dict[int, dict[str, dict[str, float]]], title: str) -> None:
    """One table of all numbers of workers."""
    rows = [
        (
            f"{workers} workers: {name}",
            f"{one['samples_per_second']:.0f}",
            f"{one['samples_per_second_lowest']:.0f}-{one['samples_per_second_highest']:.0f}",
            f"{one['ours_over_it']:.2f}",
            f"{one['ours_over_it_lowest']:.2f}-{one['ours_over_it_highest']:.2f}",
            f"{one['cpu_ms_per_sample']:.2f}",
        )
        for workers, loaders in figures.items()
        for name, one in loaders.items()
    ]
    show(title, ("loader", "samples/s", "range", "ours over it", "range", "CPU ms"), rows)


def installed() -> dict[str, str]:
    """Versions of what took part."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.option("--batch-size", default=32)
@click.option("--workers", "worker_counts", multiple=True, default=(0, 2), help="May be given repeatedly.")
@click.option("--rounds", default=9, help="Turns that every loader takes, beside one to warm up.")
@click.option("--seconds", default=0.7, help="Length of a turn, at least.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
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
    figures: dict[int, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        layouts = Path(folder) / "layouts"
        layouts.mkdir()
        write_layouts(index, layouts, names)
        for workers in worker_counts:
            # A name for every run: Streaming does not let two of its data sets have one folder.
            place = Path(folder) / f"{workers}"
            place.symlink_to(layouts)
            task = Task(index, place, batch_size, workers)
            figures[workers] = summarise(measure(start(task, names), task, rounds, seconds))
    title = f"{len(index)} clips, batches of {batch_size}, {rounds} rounds"
    show_figures(figures, title)
    for name in sorted(set(LOADERS) - set(names)):
        click.echo(f"absent, not measured: {name} (needs the package {LOADERS[name].package})")
    facts: dict[str, Any] = {"clips": len(index), "frames": int(index.frame_counts.sum())}
    facts |= {"batch_size": batch_size, "rounds": rounds, "seconds_per_turn": seconds}
    facts |= {"packages": installed(), "machine": platform.machine(), "workers": figures}
    write_json(json_path, facts)


if __name__ == "__main__":
    main()
