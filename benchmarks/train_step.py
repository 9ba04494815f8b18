"""Images a second of every training stage, and the share of its time outside the device step.

Drives the trainer's own step (`training.engine.trainer.Trainer`) on the training split of ROOT, with each of
these settings:

* "float32": eager, no channels-last weights; the reference of every ratio
* the preset's own precision and memory format; where both differ from the reference, also its precision alone
* with `--compile` the preset's own under torch.compile as well

All of them are up at once, start from the same weights, take their batches from one loader, and take turns
of `--steps` steps, each round from another one on. Before a turn is timed, as many batches are dropped as
could lie ready and one step is done. A ratio is the median over the rounds of images/s over the reference's
of the same round. Checkpoints, sample grids and held-out figures are left out.

The device step is the players' turns: forward, backward, clipping, optimizer. Outside it are waiting for the
loader, moving the batch, and the books (moving averages, sums of losses, the finite check, a report every
few steps). On a GPU images/s are of steps that run as they do in training; the parts are of as many steps
more, which wait for the GPU at every boundary, so that nothing overlaps: the share is an upper bound.

Parents' weights come from a run of the same preset under ROOT. Threads are those of `pdfgc train`, unless
OMP_NUM_THREADS is set.

    python -m benchmarks.train_step ROOT [--stage NAME ...] [--compile] [--json FILE]
"""

import dataclasses
import itertools
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Literal, ParamSpec, TypeVar

import click
import torch
from typing_extensions import override
from upath import UPath

from benchmarks.measuring import show, write_json
from pipelines.training.launch import thread_environment
from storage.root import open_root
from training.data.batches import Batch
from training.data.index import ClipIndex, open_current
from training.engine.distributed import DistributedContext, join
from training.engine.metrics_log import Meter
from training.engine.optimizer import OptimizerStep
from training.engine.settings import TrainerSettings
from training.engine.trainer import Trainer, TrainerPlan
from training.jobs.config import PresetName, TrainingConfig
from training.jobs.plan import RUN_PRESETS, StagePlan, plan_stage
from training.jobs.recipe import stage_inputs
from training.jobs.worker import read_parents
from training.stage_catalog import STAGE_NAMES
from training.stages.stage import Stage, StageContext, stage_class

REFERENCE: Final = "float32"
WARM_UP_STEPS: Final = 3  # the first compile, choose kernels and make Adam's moments
PARTS: Final[tuple[str, ...]] = ("waiting", "moving", "device", "books")
P = ParamSpec("P")
R = TypeVar("R")


class Watch:
    """Seconds of each part of the steps since `start`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = {}
        self._every_part, self._since = False, 0.0

    def start(self, *, every_part: bool) -> None:
        """Start anew; `every_part`: wait for the device at every mark; else a GPU's parts tell nothing."""
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._every_part = every_part
        self.wait()
        self._since = time.perf_counter()

    def mark(self, part: str) -> None:
        """What went by since the last mark was `part`."""
        if self._every_part:
            self.wait()
        now = time.perf_counter()
        self.seconds[part] += now - self._since
        self._since = now

    def wait(self) -> None:
        """Wait for the device."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


class TimedTrainer(Trainer[Batch]):
    """The loop, so many steps at a time, with a watch."""

    def __init__(
        self, stage: Stage[Batch], train: ClipIndex, plan: TrainerPlan, distributed: DistributedContext
    ) -> None:
        self.watch = Watch(distributed.device)
        super().__init__(stage, train, None, plan, distributed, lambda _: None)

    @override
    def _build_optimizers(self) -> dict[str, OptimizerStep]:
        optimizers = super()._build_optimizers()
        for name, optimizer in optimizers.items():
            optimizer.step = self._timed(optimizer.step, before="moving" if name == "model" else "books")
        return optimizers

    def _timed(self, step: Callable[P, R], before: str) -> Callable[P, R]:
        def timed(*arguments: P.args, **named: P.kwargs) -> R:
            self.watch.mark(before)
            result = step(*arguments, **named)
            self.watch.mark("device")
            return result

        return timed

    def take(self, batches: Iterator[Batch], steps: int, *, every_part: bool = False) -> float:
        """Wall seconds of so many steps; their parts are in `watch`."""
        self.stage.model.train()
        if self.stage.adversary is not None:
            self.stage.adversary.train()
        meter = Meter(self.distributed.device)
        self.watch.start(every_part=every_part)
        started = time.perf_counter()
        for _ in range(steps):
            batch = next(batches)
            self.watch.mark("waiting")
            self._train_step(batch, meter)
            self.step += 1
            if self.step % self.plan.logging.log_every_steps == 0:
                self._report(meter)
            self.watch.mark("books")
        self.watch.wait()
        return time.perf_counter() - started

    def close(self) -> None:
        """End the metrics' files."""
        if self._log is not None:
            self._log.close()


@dataclasses.dataclass(frozen=True)
class Speed:
    """One turn of one variant."""

    images_per_second: float
    seconds: Mapping[str, float]  # a step, by part

    @property
    def outside(self) -> float:
        """Share of the time outside the device step."""
        return 1 - self.seconds["device"] / sum(self.seconds.values())


def variants_of(preset: TrainerSettings, *, compiled: bool) -> dict[str, TrainerSettings]:
    """The settings that take turns, by name, the reference first."""
    eager = preset.replace(compiled=False)
    plain = eager.replace(channels_last=False)
    variants = [plain.replace(precision="float32"), plain, eager, preset]
    if compiled:
        variants.append(preset.replace(compiled=True))
    return {name_of(settings): settings for settings in variants}


def name_of(settings: TrainerSettings) -> str:
    """What sets a variant apart."""
    layout = ", channels last" if settings.channels_last else ""
    return f"{settings.precision}{layout}{', compiled' if settings.compiled else ''}"


def start(
    root: UPath,
    stage: str,
    config: TrainingConfig,
    distributed: DistributedContext,
    compiled: bool,
    work: Path,
) -> dict[str, TimedTrainer]:
    """A loop for every variant, all from the same weights, each with a folder in `work`.

    Raises:
        ValueError: there are no such samples, or the parents' weights are of other networks.
    """
    plan = plan_stage(stage, config)
    parents, index = read_parents(root, stage, config), open_current(root, "train")
    context = StageContext(plan.networks, parents, plan.pretrained)
    return {
        name: start_one(
            stage,
            context,
            dataclasses.replace(plan, trainer=settings),
            index,
            distributed,
            work / str(number),
        )
        for number, (name, settings) in enumerate(variants_of(plan.trainer, compiled=compiled).items())
    }


def start_one(
    stage: str,
    context: StageContext,
    plan: StagePlan,
    index: ClipIndex,
    distributed: DistributedContext,
    work: Path,
) -> TimedTrainer:
    """One variant's loop, built as `training.jobs.worker` does."""
    torch.manual_seed(plan.trainer.seed)
    built = stage_class(stage)(context, plan.settings)
    work.mkdir()
    trainer_plan = TrainerPlan(plan.trainer, plan.logging, work, configuration={})
    return TimedTrainer(built, index, trainer_plan, distributed)


def measure(loops: Mapping[str, TimedTrainer], rounds: int, steps: int) -> dict[str, list[Speed]]:
    """Let the variants take turns, on batches of one loader."""
    names = list(loops)
    stream = loops[names[0]].stream
    ready = stream.settings.workers * stream.settings.prefetch_batches
    batches = iter(stream)
    for loop in loops.values():
        loop.take(batches, WARM_UP_STEPS)
    speeds: dict[str, list[Speed]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            for _ in itertools.islice(batches, ready):
                pass
            speeds[name].append(take_turn(loops[name], batches, steps))
    return speeds


def take_turn(loop: TimedTrainer, batches: Iterator[Batch], steps: int) -> Speed:
    """One step to get going, then so many timed; on a GPU as many again for their parts."""
    loop.take(batches, 1)
    wall = loop.take(batches, steps)
    if loop.distributed.device.type == "cuda":
        loop.take(batches, steps, every_part=True)
    seconds = {part: value / steps for part, value in loop.watch.seconds.items()}
    return Speed(steps * loop.plan.settings.batch_size / wall, seconds)


def summarise(speeds: Mapping[str, Sequence[Speed]]) -> dict[str, dict[str, float]]:
    """Median and range of every variant, and its speed over the reference's round by round."""
    figures: dict[str, dict[str, float]] = {}
    reference = [speed.images_per_second for speed in speeds[REFERENCE]]
    for name, own in speeds.items():
        rates = [speed.images_per_second for speed in own]
        ratios = [mine / theirs for mine, theirs in zip(rates, reference, strict=True)]
        figures[name] = {}
        shares = [speed.outside for speed in own]
        for kind, values in (
            ("images_per_second", rates),
            ("over_float32", ratios),
            ("share_outside", shares),
        ):
            figures[name] |= {kind: statistics.median(values)}
            figures[name] |= {f"{kind}_lowest": min(values), f"{kind}_highest": max(values)}
        for part in PARTS:
            figures[name][f"{part}_ms"] = 1000 * statistics.median(speed.seconds[part] for speed in own)
    return figures


def show_figures(figures: Mapping[str, Mapping[str, Mapping[str, float]]], title: str) -> None:
    """Two tables of all stages: how fast, and where the time of a step goes."""
    named = [
        (f"{stage}: {name}", one) for stage, variants in figures.items() for name, one in variants.items()
    ]
    speeds = [
        (
            name,
            f"{one['images_per_second']:.1f}",
            f"{one['images_per_second_lowest']:.1f}-{one['images_per_second_highest']:.1f}",
            f"{one['over_float32']:.2f}",
            f"{one['over_float32_lowest']:.2f}-{one['over_float32_highest']:.2f}",
        )
        for name, one in named
    ]
    show(title, ("stage", "img/s", "range", "ratio", "range"), speeds)
    parts = [
        (
            name,
            f"{100 * one['share_outside']:.1f}",
            f"{100 * one['share_outside_lowest']:.1f}-{100 * one['share_outside_highest']:.1f}",
            *(f"{one[f'{part}_ms']:.1f}" for part in PARTS),
        )
        for name, one in named
    ]
    show("outside the device step, and ms a step", ("stage", "%", "range", *PARTS), parts)


def measure_stage(loops: Mapping[str, TimedTrainer], rounds: int, steps: int) -> dict[str, dict[str, float]]:
    """The figures of one stage's variants; the loops are over then."""
    with ExitStack() as stack:
        for loop in loops.values():
            stack.callback(loop.close)
        return summarise(measure(loops, rounds, steps))


def load_averages() -> list[float]:
    """Of the last 1, 5 and 15 minutes."""
    return [round(load, 1) for load in os.getloadavg()]


def machine_facts(device: torch.device) -> dict[str, Any]:
    """What the figures hang on beside the code."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.option("--preset", default="tiny_cpu", type=click.Choice(list(RUN_PRESETS)))
@click.option("--run", default="default", help="Run of that preset whose weights a stage starts from.")
@click.option("--stage", "stages", multiple=True, default=STAGE_NAMES, type=click.Choice(STAGE_NAMES))
@click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--steps", default=10, help="Of a turn.", type=click.IntRange(1))
@click.option("--rounds", default=3, help="Turns that every variant takes.", type=click.IntRange(1))
@click.option("--compile", "compiled", is_flag=True, help="Also the preset's own under torch.compile.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
def main(
    root: Path,
    *,
    preset: PresetName,
    run: str,
    stages: tuple[str, ...],
    device: Literal["auto", "cpu", "cuda"],
    steps: int,
    rounds: int,
    compiled: bool,
    json_path: Path | None,
) -> None:
    """Time the training steps of a preset's stages on the data set of ROOT."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(int(thread_environment(1)["OMP_NUM_THREADS"]))
    config = TrainingConfig(preset=preset, run=run, device=device)
    place, load_before = open_root(str(root)), load_averages()
    figures: dict[str, dict[str, dict[str, float]]] = {}
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            distributed = stack.enter_context(join(device))
            for stage in stages:  # all parents' presence before the first minute is spent
                stage_inputs(place, stage, config)
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        for stage in stages:
            (work / stage).mkdir()
            try:
                loops = start(place, stage, config, distributed, compiled, work / stage)
            except ValueError as error:
                raise click.ClickException(str(error)) from error
            figures[stage] = measure_stage(loops, rounds, steps)
        facts = machine_facts(distributed.device)
    show_figures(figures, f"{preset}, {rounds} rounds of {steps} steps, {facts['threads']} threads")
    load = {"load_before": load_before, "load_after": load_averages()}
    click.echo(f"load average of 1, 5, 15 min: {load['load_before']} before, {load['load_after']} after")
    facts |= load | {"preset": preset, "run": run, "steps": steps, "rounds": rounds, "stages": figures}
    write_json(json_path, facts)


if __name__ == "__main__":
    main()
