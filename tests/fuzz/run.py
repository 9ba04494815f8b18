"""Feed changed files to the code that reads them, in limited workers, and count what happens.

`make fuzz` runs 2,000 inputs; `python -m tests.fuzz.run --inputs N --seed S --kind video` others. The same
seed gives the same inputs. Exit status 1 if there is a loss: an exception that is no refusal, a dead or
looping process, too much memory, or damage of a shard, a manifest or zipped weights that passes unseen.
"""

import logging
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from preprocessing.media.container import RefusedVideo
from preprocessing.process_pool import CRASHED, Crashed, map_in_processes
from preprocessing.worker_limits import WorkerLimits
from tests.fuzz.mutations import mutate
from tests.fuzz.seeds import Seed, make_seeds
from tests.fuzz.targets import CHECKED_KINDS, REFUSALS, UNFORESEEN, read_input

logger = logging.getLogger(__name__)
LOG_EVERY: Final = 250
LIMITS: Final = WorkerLimits(memory_mebibytes=2048, stalled_cpu_seconds=20, cpu_hours=0.02)
UNCHANGED: Final = -1  # number of an input that is the seed itself


@dataclass(frozen=True)
class FuzzInput:
    """One changed file."""

    seed: Seed
    others: tuple[Path, ...]
    number: int
    random_seed: int

    @property
    def name(self) -> str:
        """Kind, file and number, to find it again."""
        return f"{self.seed.kind} {self.seed.path.name} #{self.number}"


@dataclass(frozen=True)
class Outcome:
    """What the reader did: its result's digest, or its refusal, or its error."""

    digest: str = ""
    refusal: str = ""
    error: str = ""
    seconds: float = 0.0
    memory_mebibytes: int = 0


@dataclass
class Counts:
    """Counts of one kind."""

    tried: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])
    crashed: int = 0
    hung: int = 0
    out_of_memory: int = 0
    unseen: int = 0
    slowest_seconds: float = 0.0
    memory_mebibytes: int = 0


@dataclass
class Report:
    """Counts by kind, and the losses, one line or trace each."""

    counts: dict[str, Counts] = field(default_factory=dict[str, Counts])
    losses: list[str] = field(default_factory=list[str])

    def lines(self) -> Iterator[str]:
        """The table that is printed."""
        for kind, counts in self.counts.items():
            refused = ", ".join(f"{reason} {number}" for reason, number in counts.refused.most_common())
            yield (
                f"{kind}: {counts.tried} tried, {counts.accepted} accepted, {counts.refused.total()} refused "
                f"({refused}), {counts.crashed} crashed, {counts.hung} hung, "
                f"{counts.out_of_memory} out of memory, {counts.unseen} damaged and unseen; "
                f"slowest {counts.slowest_seconds:.1f} s, "
                f"peak {counts.memory_mebibytes} MiB"
            )
        tried = sum(counts.tried for counts in self.counts.values())
        yield f"{tried} inputs, {len(self.losses)} losses"


def run_input(task: FuzzInput) -> Outcome:
    """Change the file and read it, in a folder of its own."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pdfgc-fuzz-") as name:
        folder = Path(name) / "case"
        shutil.copytree(task.seed.folder, folder, ignore=_unneeded(task.seed))
        path = folder / task.seed.path.relative_to(task.seed.folder)
        if task.number != UNCHANGED:
            rng = random.Random(f"{task.random_seed} {task.seed.path.name} {task.number}")
            path.write_bytes(mutate(path.read_bytes(), rng.choice(task.others).read_bytes(), rng))
        digest = refusal = error = ""
        try:
            digest = read_input(task.seed.kind, path, folder, task.number)
        except REFUSALS as refused:
            refusal = refused.reason if isinstance(refused, RefusedVideo) else type(refused).__name__
            error = traceback.format_exc() if UNFORESEEN in str(refused) else ""
        except Exception:  # noqa: BLE001  (what is looked for)
            error = traceback.format_exc()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Outcome(digest, refusal, error, time.monotonic() - started, memory)


def _unneeded(seed: Seed) -> Callable[[str, list[str]], list[str]]:
    """Only videos, images, sounds and weights stand alone."""

    def ignore(folder: str, names: list[str]) -> list[str]:
        if seed.kind not in ("video", "image", "sound", "weights") or Path(folder) != seed.folder:
            return []
        return [name for name in names if name != seed.path.name]

    return ignore


def fuzz(seeds: Sequence[Seed], inputs: int, random_seed: int, workers: int) -> Report:
    """Read every seed unchanged, then `inputs` changed files, the same number of each seed."""
    others = {seed.kind: tuple(one.path for one in seeds if one.kind == seed.kind) for seed in seeds}
    numbers = [UNCHANGED, *range(-(-inputs // len(seeds)))]
    tasks = [FuzzInput(seed, others[seed.kind], number, random_seed) for number in numbers for seed in seeds]
    tasks = tasks[: len(seeds) + inputs]
    report, expected = Report(), dict[Path, str]()
    unchanged, changed = tasks[: len(seeds)], tasks[len(seeds) :]
    for task, outcome in map_in_processes(run_input, unchanged, workers, LIMITS):
        if isinstance(outcome, Crashed) or not outcome.digest:
            report.losses.append(f"{task.name}: the unchanged file is not read: {outcome}")
        else:
            expected[task.seed.path] = outcome.digest
    for task, outcome in map_in_processes(run_input, changed, workers, LIMITS):
        counts = report.counts.setdefault(task.seed.kind, Counts())
        loss = count_outcome(task, outcome, counts, expected.get(task.seed.path, ""))
        if loss:
            report.losses.append(f"{task.name}: {loss}")
            logger.warning(report.losses[-1])
        if sum(one.tried for one in report.counts.values()) % LOG_EVERY == 0:
            logger.info("\n".join(report.lines()))
    return report


def count_outcome(task: FuzzInput, outcome: Outcome | Crashed, counts: Counts, expected: str) -> str:
    """Count one outcome; returns what was lost, or ""."""
    counts.tried += 1
    if isinstance(outcome, Crashed):
        counts.crashed += outcome.reason == CRASHED
        counts.hung += outcome.reason == "too_slow"
        counts.out_of_memory += outcome.reason == "out_of_memory"
        return f"{outcome.reason}: {outcome.detail}"
    counts.slowest_seconds = max(counts.slowest_seconds, outcome.seconds)
    counts.memory_mebibytes = max(counts.memory_mebibytes, outcome.memory_mebibytes)
    if outcome.error:
        counts.crashed += 1
        return outcome.error
    if outcome.refusal:
        counts.refused[outcome.refusal] += 1
        return ""
    counts.accepted += 1
    is_checked = task.seed.kind in CHECKED_KINDS or task.seed.path.name == "zip.pt"
    if is_checked and outcome.digest != expected:
        counts.unseen += 1
        return "other content was read, and the damage was not seen"
    return ""


@click.command()
@click.option("--inputs", default=2000, type=click.IntRange(1), show_default=True, help="Changed files")
@click.option("--seed", default=0, show_default=True, help="Of the changes")
@click.option("--workers", default=2, type=click.IntRange(1), show_default=True, help="Processes")
@click.option("--kind", "kinds", multiple=True, help="Only this kind; may be repeated")
def main(inputs: int, seed: int, workers: int, kinds: tuple[str, ...]) -> None:
    """Read changed files of every kind and print what happened."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory(prefix="pdfgc-fuzz-seeds-") as folder:
        seeds = [one for one in make_seeds(Path(folder)) if not kinds or one.kind in kinds]
        report = fuzz(seeds, inputs, seed, workers)
    for line in report.lines():
        click.echo(line)
    sys.exit(1 if report.losses else 0)


if __name__ == "__main__":
    main()
