"""One optimisation step of stages 1 and 3 with a preset's networks: losses, gradients, seconds, memory.

Each stage runs in float32 and under bfloat16 autocast, every time in a process of its own, on random frames,
landmarks and mel features, with random parents and random VGG filters. A step is forward, backward and update
of the networks, then of the discriminator, as in `training.engine.trainer`. What `prepare` measures on a data
set (scales of codes and features) stays as built; the memory banks hold random rows.

Fails where a loss is not finite, or where the total's gradient with respect to a code of the style vector is
zero or not finite: that code would train nothing of G.

Peak memory is the process's, with interpreter and networks; on a GPU that of torch's allocator.

    python -m benchmarks.training.official_step [--preset paper] [--rows 1] [--json FILE]
"""

import math
import multiprocessing
import os
import resource
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import click
import torch
from torch import Tensor, nn

from benchmarks.measuring import Cost, cost_of, show, write_json
from models.appearance import AppearanceEncoder
from models.audio import AudioEncoder
from models.generator import Generator
from models.motion import MotionEncoder
from models.perception import PerceptionNetwork
from models.presets import NetworkPreset
from models.shapes import to_channels_last
from pipelines.training.launch import thread_environment
from preprocessing.schema import CROP_SIDE_PX, LANDMARK_COUNT
from training.data.batches import MEL_WINDOW_FRAMES, Batch, ClipPairs, ExpressionWindows, RowFacts
from training.engine.optimizer import OptimizerStep
from training.engine.settings import OptimizerSettings, Precision
from training.engine.stage_weights import StageWeights, collect
from training.jobs.config import PresetName, TrainingConfig
from training.jobs.plan import RUN_PRESETS, StagePlan, plan_stage
from training.stages.expression_model import ExpressionModel, ExpressionStageSettings
from training.stages.pictures.generator import first_generator_config
from training.stages.stage import LossModule, Stage, StageContext, stage_class

GENERATOR_STAGES: Final = ("stage1_motion", "stage3_expression")
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "bfloat16")
BANK_ROWS: Final = 256  # with an empty bank a single row has no correlations
MEL_BANDS: Final = 80


@dataclass(frozen=True)
class Measurement:
    """One step of one stage."""

    stage: str
    precision: Precision
    losses: Mapping[str, float]  # unweighted
    code_gradients: Mapping[str, float]  # norm of the total's gradient by code of the style vector
    networks: Cost
    adversary: Cost | None  # None: no adversarial loss has a weight
    peak_gib: float

    @property
    def faults(self) -> list[str]:
        """What would keep the stage from training."""
        wrong = [f"loss {name} is {value}" for name, value in self.losses.items() if not math.isfinite(value)]
        wrong += [
            f"the gradient of the code {name} is {value}"
            for name, value in self.code_gradients.items()
            if not 0 < value < math.inf
        ]
        return [f"{self.stage}, {self.precision}: {fault}" for fault in wrong]


def random_parents(networks: NetworkPreset) -> dict[str, StageWeights]:
    """Untrained weights of the earlier stages."""
    motion, audio = MotionEncoder(networks.motion), AudioEncoder(networks.audio)
    parts: dict[str, dict[str, nn.Module]] = {
        "perception": {"perception": PerceptionNetwork(networks.perception)},
        "stage1_motion": {
            "appearance": AppearanceEncoder(networks.appearance),
            "motion.model": motion.model,
            "generator": Generator(first_generator_config(networks)),
        },
        "stage2_lip": {"motion.to_mouth": motion.to_mouth, "audio.model": audio.model},
        "stage2_eye": {"motion.to_eye": motion.to_eye, "motion.eye_embed": motion.eye_embed},
        "stage2_pose": {
            "motion.to_headpose": motion.to_headpose,
            "motion.headpose_embed": motion.headpose_embed,
        },
    }
    return {stage: StageWeights(stage, collect(networks)) for stage, networks in parts.items()}


def random_frames(*shape: int) -> Tensor:
    """uint8 crops [*shape, 3, S, S]."""
    return torch.randint(0, 256, (*shape, 3, CROP_SIDE_PX, CROP_SIDE_PX)).to(torch.uint8)


def random_batch(plan: StagePlan, rows: int) -> Batch:
    """A batch of a stage."""
    facts = RowFacts(("clip",) * rows, (0,) * rows, (0,) * rows, tuple(range(rows)), (True,) * rows)
    shown, driving = torch.rand(2, rows, LANDMARK_COUNT, 3) * CROP_SIDE_PX
    if isinstance(plan.settings, ExpressionStageSettings):
        window = random_frames(rows, plan.settings.windows.window_frames)
        mels = torch.rand(rows, 1, MEL_BANDS, MEL_WINDOW_FRAMES)
        return ExpressionWindows(facts, random_frames(rows), window, mels, shown, driving)
    identity = torch.zeros(rows, dtype=torch.int64)
    return ClipPairs(facts, random_frames(rows), random_frames(rows), shown, driving, identity)


def code_widths(stage: str, networks: NetworkPreset) -> dict[str, int]:
    """Widths of the codes of a stage's style vector, in its order."""
    if stage == "stage1_motion":
        return {
            "appearance": networks.style_widths.appearance,
            "motion feature": networks.motion.trunk.feature_width,
        }
    return asdict(networks.style_widths)


def measure(
    preset: PresetName, stage: str, precision: Precision, rows: int, device: Literal["cpu", "cuda"]
) -> Measurement:
    """Run one step in this process."""
    torch.manual_seed(0)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(int(thread_environment(1)["OMP_NUM_THREADS"]))
    plan = plan_stage(stage, TrainingConfig(preset=preset, precision=precision, batch_size=rows))
    networks = plan.networks
    built = stage_class(stage)(StageContext(networks, random_parents(networks)), plan.settings)
    built.to(torch.device(device))
    model = built.model
    if isinstance(model, ExpressionModel):
        model.expression_bank.push(torch.randn(BANK_ROWS, networks.motion.expression_width, device=device))
        model.audio_bank.push(torch.randn(BANK_ROWS, networks.audio.feature_width, device=device))
    if plan.trainer.channels_last:
        to_channels_last(model)
    styles: list[Tensor] = []

    def keep_gradient(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        del module
        arguments[1].retain_grad()
        styles.append(arguments[1])

    model.get_submodule("generator.conv1").register_forward_pre_hook(keep_gradient)
    losses, networks_cost, adversary_cost = step(built, plan, random_batch(plan, rows).to(device))
    (style,) = styles
    assert style.grad is not None
    widths = code_widths(stage, networks)
    gradients = style.grad.float().split(list(widths.values()), dim=1)
    return Measurement(
        stage,
        precision,
        losses,
        {name: float(gradient.norm()) for name, gradient in zip(widths, gradients, strict=True)},
        networks_cost,
        adversary_cost,
        peak_gib(device),
    )


def in_own_process(*arguments: Any) -> Measurement:
    """`measure` in a new process, whose peak memory is that of this step alone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def step(built: Stage[Any], plan: StagePlan, batch: Batch) -> tuple[dict[str, float], Cost, Cost | None]:
    """The losses, and the cost of both halves of the step."""
    losses: dict[str, float] = {}
    images: list[Tensor] = []

    def optimise(module: LossModule, settings: OptimizerSettings, *arguments: Any) -> None:
        optimizer = OptimizerStep(module.train(), module, built.loss_weights, settings, plan.trainer)
        result, _, _ = optimizer.step(0, *arguments)
        losses.update({name: float(value.detach()) for name, value in result.losses.items()})  # waits
        images.extend(image.detach() for image in (result.real, result.generated) if image is not None)

    networks = cost_of(lambda: optimise(built.model, built.optimizer, batch))
    adversary, optimizer = built.adversary, built.adversary_optimizer
    if adversary is None or optimizer is None:
        return losses, networks, None
    return losses, networks, cost_of(lambda: optimise(adversary, optimizer, *images[:2]))


def peak_gib(device: Literal["cpu", "cuda"]) -> float:
    """Most memory used so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB


def show_results(results: Sequence[Measurement], title: str) -> None:
    """Show three tables: cost, losses, gradients."""
    names = [f"{result.stage}, {result.precision}" for result in results]
    costs = [
        (
            name,
            f"{result.networks.cpu_seconds:.1f}",
            f"{result.networks.wall_seconds:.1f}",
            "" if result.adversary is None else f"{result.adversary.cpu_seconds:.1f}",
            f"{result.peak_gib:.1f}",
        )
        for name, result in zip(names, results, strict=True)
    ]
    show(title, ("stage", "CPU s", "wall s", "CPU s, discriminator", "peak, GiB"), costs)
    for heading, kind in (("losses", "losses"), ("gradient norm by code", "code_gradients")):
        tables: list[Mapping[str, float]] = [getattr(result, kind) for result in results]
        columns = list(dict.fromkeys(name for table in tables for name in table))
        values = [[f"{table[name]:.2e}" if name in table else "" for table in tables] for name in columns]
        show(heading, ("", *names), [(name, *cells) for name, cells in zip(columns, values, strict=True)])


@click.command()
@click.option("--preset", default="paper", type=click.Choice(list(RUN_PRESETS)))
@click.option("--stage", "stages", multiple=True, default=GENERATOR_STAGES)
@click.option("--precision", "precisions", multiple=True, default=PRECISIONS, type=click.Choice(PRECISIONS))
@click.option("--rows", default=1, help="Rows of the batch.", type=click.IntRange(1))
@click.option("--device", default="cpu", type=click.Choice(["cpu", "cuda"]))
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(
    preset: PresetName,
    *,
    stages: tuple[str, ...],
    precisions: tuple[Precision, ...],
    rows: int,
    device: Literal["cpu", "cuda"],
    json_path: Path | None,
) -> None:
    """Run one step of each stage in each precision."""
    results = [
        in_own_process(preset, stage, precision, rows, device) for stage in stages for precision in precisions
    ]
    show_results(results, f"{preset}: one step of {rows} rows on {device}")
    write_json(json_path, {"preset": preset, "rows": rows, "steps": [asdict(result) for result in results]})
    if faults := [fault for result in results for fault in result.faults]:
        raise click.ClickException("; ".join(faults))


if __name__ == "__main__":
    main()
