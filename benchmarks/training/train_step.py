"""Images per second of every training stage, and the share of time outside the device step.

Runs the trainer's step (`training.engine.trainer.Trainer`) on the training split of ROOT, with each of these
settings:

* "float32": eager, no channels-last weights; the reference of every ratio
* the preset's own precision and memory format; where both differ from the reference, also its precision alone
* with `--compile` the preset's own under torch.compile as well
* with `--bfloat16` the preset's memory format under bfloat16 autocast as well

All variants start from the same weights, take batches from one loader, and are timed in turns of `--steps`
steps, each round starting with another one. Before a turn is timed, prefetched batches are dropped and one
step is run. A ratio is the median over the rounds of images/s / the reference's in the same round.
Checkpoints, sample grids and held-out metrics are left out.

The device step is forward, backward, clipping and optimizer. Outside it are waiting for the loader, moving
the batch, and bookkeeping (moving averages, sums of losses, the finite check, a report every few steps). On a
GPU, images/s are those of steps as in training; the parts are measured in separate steps that wait for the
GPU at every boundary, so that nothing overlaps: the share is an upper bound.

Parents' weights come from a run of the same preset under ROOT, or are random. Threads are those of
`pdfgc train`, unless OMP_NUM_THREADS is set.

    python -m benchmarks.training.train_step ROOT [--stage NAME ...] [--compile] [--bfloat16] [--json FILE]
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
from benchmarks.training.official_step import random_parents
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
WARM_UP_STEPS: Final = 3  # the first steps compile, choose kernels and allocate Adam's moments
PARTS: Final[tuple[str, ...]] = ("waiting", "moving", "device", "bookkeeping")
P = ParamSpec("P")
R = TypeVar("R")


class PartTimer:
    """Seconds of each part of the steps since `start`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = {}
        self._every_part, self._since = False, 0.0

    def start(self, *, every_part: bool) -> None:
        """Reset; `every_part` waits for the device at every mark, which a GPU's parts need."""
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._every_part = every_part
        self.wait()
        self._since = time.perf_counter()

    def mark(self, part: str) -> None:
        """Add the time since the last mark to `part`."""
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
    """The trainer, a given number of steps at a time, with a timer."""

    def __init__(
        self, stage: Stage[Batch], train: ClipIndex, plan: TrainerPlan, distributed: DistributedContext
    ) -> None:
        self.timer = PartTimer(distributed.device)
        super().__init__(stage, train, None, plan, distributed, lambda _: None)

    @override
    def _build_optimizers(self) -> dict[str, OptimizerStep]:
        optimizers = super()._build_optimizers()
        for name, optimizer in optimizers.items():
            optimizer.step = self._timed(
                optimizer.step, before="moving" if name == "model" else "bookkeeping"
            )
        return optimizers

    def _timed(self, step: Callable[P, R], before: str) -> Callable[P, R]:
        def timed(*arguments: P.args, **named: P.kwargs) -> R:
            self.timer.mark(before)
            result = step(*arguments, **named)
            self.timer.mark("device")
            return result

        return timed

    def take(self, batches: Iterator[Batch], steps: int, *, every_part: bool = False) -> float:
        """Wall seconds of `steps` steps; their parts are in `timer`."""
        self.stage.model.train()
        if self.stage.adversary is not None:
            self.stage.adversary.train()
        meter = Meter(self.distributed.device)
        self.timer.start(every_part=every_part)
        started = time.perf_counter()
        for _ in range(steps):
            batch = next(batches)
            self.timer.mark("waiting")
            self._train_step(batch, meter, due=False)
            self.step += 1
            if self.step % self.plan.logging.log_every_steps == 0:
                self._report(meter)
            self.timer.mark("bookkeeping")
        self.timer.wait()
        return time.perf_counter() - started

    def close(self) -> None:
        """Close the metrics log."""
        if self._log is not None:
            self._log.close()


@dataclasses.dataclass(frozen=True)
class StepSpeed:
    """One turn of one variant."""

    images_per_second: float
    seconds: Mapping[str, float]  # per step, by part

    @property
    def outside(self) -> float:
        """Share of the time outside the device step."""
        return 1 - self.seconds["device"] / sum(self.seconds.values())


def variants_of(
    preset: TrainerSettings, *, compiled: bool, bfloat16: bool = False
) -> dict[str, TrainerSettings]:
    """The compared settings by name, the reference first."""
    eager = preset.replace(compiled=False)
    plain = eager.replace(channels_last=False)
    variants = [plain.replace(precision="float32"), plain, eager, preset]
    if compiled:
        variants.append(preset.replace(compiled=True))
    if bfloat16:
        variants.append(eager.replace(precision="bfloat16"))
    return {name_of(settings): settings for settings in variants}


def name_of(settings: TrainerSettings) -> str:
    """Name of a variant."""
    layout = ", channels last" if settings.channels_last else ""
    return f"{settings.precision}{layout}{', compiled' if settings.compiled else ''}"


@dataclasses.dataclass(frozen=True)
class Compared:
    """What `start` makes besides float32 and the preset's own settings."""

    compiled: bool = False
    bfloat16: bool = False
    random_parents: bool = False  # no trained run is needed


def start(
    root: UPath,
    stage: str,
    config: TrainingConfig,
    distributed: DistributedContext,
    compared: Compared,
    work: Path,
) -> dict[str, TimedTrainer]:
    """A trainer for every variant, all from the same weights, each with a folder in `work`.

    Raises:
        ValueError: there are no such samples, or the parents' weights are of other networks.
    """
    plan = plan_stage(stage, config)
    is_random = compared.random_parents
    parents = random_parents(plan.networks) if is_random else read_parents(root, stage, config)
    index = open_current(root, "train")
    variants = variants_of(plan.trainer, compiled=compared.compiled, bfloat16=compared.bfloat16)
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
        for number, (name, settings) in enumerate(variants.items())
    }


def start_one(
    stage: str,
    context: StageContext,
    plan: StagePlan,
    index: ClipIndex,
    distributed: DistributedContext,
    work: Path,
) -> TimedTrainer:
    """One variant's trainer, built as in `training.jobs.worker`."""
    torch.manual_seed(plan.trainer.seed)
    built = stage_class(stage)(context, plan.settings)
    work.mkdir()
    trainer_plan = TrainerPlan(plan.trainer, plan.logging, work, configuration={})
    return TimedTrainer(built, index, trainer_plan, distributed)


def measure(trainers: Mapping[str, TimedTrainer], rounds: int, steps: int) -> dict[str, list[StepSpeed]]:
    """Time the variants in turns, on batches of one loader."""
    names = list(trainers)
    stream = trainers[names[0]].stream
    ready = stream.settings.workers * stream.settings.prefetch_batches
    batches = iter(stream)
    for trainer in trainers.values():
        trainer.take(batches, WARM_UP_STEPS)
    speeds: dict[str, list[StepSpeed]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            for _ in itertools.islice(batches, ready):
                pass
            speeds[name].append(take_turn(trainers[name], batches, steps))
    return speeds


def take_turn(trainer: TimedTrainer, batches: Iterator[Batch], steps: int) -> StepSpeed:
    """One step to warm up, then `steps` timed ones; on a GPU as many again for the parts."""
    trainer.take(batches, 1)
    wall = trainer.take(batches, steps)
    if trainer.distributed.device.type == "cuda":
        trainer.take(batches, steps, every_part=True)
    seconds = {part: value / steps for part, value in trainer.timer.seconds.items()}
    return StepSpeed(steps * trainer.plan.settings.batch_size / wall, seconds)


def summarise(speeds: Mapping[str, Sequence[StepSpeed]]) -> dict[str, dict[str, float]]:
    """Median and range of every variant, and of its ratio to the reference in the same round."""
    results: dict[str, dict[str, float]] = {}
    reference = [speed.images_per_second for speed in speeds[REFERENCE]]
    for name, own in speeds.items():
        rates = [speed.images_per_second for speed in own]
        ratios = [mine / theirs for mine, theirs in zip(rates, reference, strict=True)]
        results[name] = {}
        shares = [speed.outside for speed in own]
        for kind, values in (
            ("images_per_second", rates),
            ("over_float32", ratios),
            ("share_outside", shares),
        ):
            results[name] |= {kind: statistics.median(values)}
            results[name] |= {f"{kind}_lowest": min(values), f"{kind}_highest": max(values)}
        for part in PARTS:
            results[name][f"{part}_ms"] = 1000 * statistics.median(speed.seconds[part] for speed in own)
    return results


def show_results(results: Mapping[str, Mapping[str, Mapping[str, float]]], title: str) -> None:
    """Show two tables of all stages: speed, and parts of a step."""
    named = [
        (f"{stage}: {name}", values)
        for stage, variants in results.items()
        for name, values in variants.items()
    ]
    speeds = [
        (
            name,
            f"{values['images_per_second']:.1f}",
            f"{values['images_per_second_lowest']:.1f}-{values['images_per_second_highest']:.1f}",
            f"{values['over_float32']:.2f}",
            f"{values['over_float32_lowest']:.2f}-{values['over_float32_highest']:.2f}",
        )
        for name, values in named
    ]
    show(title, ("stage", "img/s", "range", "ratio", "range"), speeds)
    parts = [
        (
            name,
            f"{100 * values['share_outside']:.1f}",
            f"{100 * values['share_outside_lowest']:.1f}-{100 * values['share_outside_highest']:.1f}",
            *(f"{values[f'{part}_ms']:.1f}" for part in PARTS),
        )
        for name, values in named
    ]
    show("time outside the device step, and ms per step", ("stage", "%", "range", *PARTS), parts)


def measure_stage(
    trainers: Mapping[str, TimedTrainer], rounds: int, steps: int
) -> dict[str, dict[str, float]]:
    """Results of one stage's variants; closes their trainers."""
    with ExitStack() as stack:
        for trainer in trainers.values():
            stack.callback(trainer.close)
        return summarise(measure(trainers, rounds, steps))


def load_averages() -> list[float]:
    """Of the last 1, 5 and 15 minutes."""
    return [round(load, 1) for load in os.getloadavg()]


def machine_facts(device: torch.device) -> dict[str, Any]:
    """What the results depend on, other than the code."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.option("--preset", default="tiny_cpu", type=click.Choice(list(RUN_PRESETS)))
@click.option("--run", default="default", help="Run of the preset that provides the parents' weights.")
@click.option("--stage", "stages", multiple=True, default=STAGE_NAMES, type=click.Choice(STAGE_NAMES))
@click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--steps", default=10, help="Steps of a turn.", type=click.IntRange(1))
@click.option("--rounds", default=3, help="Turns of every variant.", type=click.IntRange(1))
@click.option("--compile", "compiled", is_flag=True, help="Also time the preset under torch.compile.")
@click.option("--bfloat16", is_flag=True, help="Also time bfloat16 autocast.")
@click.option(
    "--random-parents", "with_random_parents", is_flag=True, help="Random weights of the earlier stages."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
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
    bfloat16: bool,
    with_random_parents: bool,
    json_path: Path | None,
) -> None:
    """Time the training steps of a preset's stages on the data set of ROOT."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(int(thread_environment(1)["OMP_NUM_THREADS"]))
    config = TrainingConfig(preset=preset, run=run, device=device)
    compared = Compared(compiled, bfloat16, with_random_parents)
    place, load_before = open_root(str(root)), load_averages()
    results: dict[str, dict[str, dict[str, float]]] = {}
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            distributed = stack.enter_context(join(device))
            for stage in () if with_random_parents else stages:  # check all before measuring anything
                stage_inputs(place, stage, config)
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        for stage in stages:
            (work / stage).mkdir()
            try:
                trainers = start(place, stage, config, distributed, compared, work / stage)
            except ValueError as error:
                raise click.ClickException(str(error)) from error
            results[stage] = measure_stage(trainers, rounds, steps)
        facts = machine_facts(distributed.device)
    show_results(results, f"{preset}, {rounds} rounds of {steps} steps, {facts['threads']} threads")
    load = {"load_before": load_before, "load_after": load_averages()}
    click.echo(f"load average of 1, 5, 15 min: {load['load_before']} before, {load['load_after']} after")
    facts |= load | {"preset": preset, "run": run, "steps": steps, "rounds": rounds, "stages": results}
    write_json(json_path, facts)


if __name__ == "__main__":
    main()
