"""What each part of stage 3 buys: the same parents, data, seed and steps, with one setting changed.

Trains stage 3 once for each variant on ROOT's training split, from the stages that RUN has published, and
measures on the held-out people:

* the stage's own held-out metrics
* cross-driven videos: the portrait of each person, driven by the next person's clip. MediaPipe's face mesh
  and iris networks read it and the driver; r and gain (slope over the driver), each clip centred, with every
  code from the driver; also of the mouth with the sound alone, of lids and gaze with the eye code alone, of
  the head's turn with the expression alone

"perception reads" trains with the network of the stage `perception` in the losses; "eye head untrained"
replaces stage 2's eye head, which the eye-swap anchors trained, by random weights. "random VGG filters" and
"EfficientNet-Lite0 filters" add a perceptual loss of weight 1 to the preset's losses, which have none
(`benchmarks/training/perceptual_filters.py`; the second is left out where its packages are missing).

    python -m benchmarks.training.ablations ROOT RUN [--preset tiny_cpu] [--steps 400] [--json FILE]

With --json, variants that the file has with as many steps are not trained again.
"""

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click
import torch
from torch import Tensor, nn
from upath import UPath

from benchmarks.measuring import show, write_json
from benchmarks.training.perceptual_filters import (
    EFFICIENTNET,
    RANDOM,
    EfficientNetFeatures,
    ScaledFeatures,
    is_installed,
)
from models.external.face_mesh import FaceReading, load_face_mesh
from models.external.mesh_measures import eye_measures
from models.motion import MotionEncoder
from models.portrait_warp import Portrait
from models.style_vector import StyleVector
from storage.root import open_root
from training.data.draws import read_mel_window
from training.data.frames import to_network_input
from training.data.index import ClipIndex, open_current
from training.data.shard_reader import ReaderSettings, ShardReader
from training.data.sources import ExpressionWindowSource
from training.engine.distributed import join
from training.engine.ema import ema_scope
from training.engine.stage_weights import StageWeights, collect
from training.engine.trainer import Trainer, TrainerPlan
from training.jobs.config import PresetName, TrainingConfig
from training.jobs.plan import StagePlan, plan_stage
from training.jobs.worker import read_parents
from training.stages.codes.code_scale import UNSCALED
from training.stages.expression_model import ExpressionModel, ExpressionStageSettings
from training.stages.pictures.flow_fit import FlowFitSettings
from training.stages.pictures.picture_losses import PictureLosses
from training.stages.stage import FrozenNetwork, StageContext
from training.stages.stage3_expression import ExpressionStage

STAGE: Final = "stage3_expression"
READINGS: Final = ("yaw", "mouth", "lids", "gaze", "gaze up and down", "brows", "smile")
FRAMES_AT_ONCE: Final = 32

Change = Callable[[ExpressionStageSettings], ExpressionStageSettings]


def _weights(**weights: float) -> Change:
    return lambda settings: settings.replace(weights=settings.weights.replace(**weights))


VARIANTS: Final[Mapping[str, Change]] = {
    "the preset": lambda settings: settings,
    "consecutive window": lambda settings: settings.replace(
        windows=settings.windows.replace(window_from="consecutive")
    ),
    "without L_decor": _weights(decorrelation=0.0),
    "codes unscaled": lambda settings: settings.replace(code_shares=UNSCALED),
    "perception reads": lambda settings: settings.replace(
        pictures=settings.pictures.replace(face_reader="perception")
    ),
    "no face is read": _weights(phi=0.0, psi=0.0, gaze=0.0, lids=0.0),
    "flow not fitted": lambda settings: settings.replace(flow_fit=FlowFitSettings()),
    "without L_flow": lambda settings: _weights(flow=0.0, flow_local=0.0, flow_bending=0.0)(
        settings.replace(flow_fit=FlowFitSettings())
    ),
    "control consistency": _weights(controls=1.0),
    "expression not fitted": lambda settings: settings.replace(
        flow_fit=settings.flow_fit.replace(expression=False)
    ),
    "whole clip's window": lambda settings: settings.replace(
        windows=settings.windows.replace(window_span_frames=0)
    ),
    "without expression readout": _weights(expression_readout=0.0),
    "eye head untrained": lambda settings: settings,
    RANDOM: _weights(vgg=1.0),
    EFFICIENTNET: _weights(vgg=1.0),
}


@dataclasses.dataclass(frozen=True)
class EncodedClip:
    """Held-out frames as the generator's inputs: T frames of a clip."""

    frames: Tensor  # [T, 3, S, S]
    feature: Tensor  # [T, D]
    audio: Tensor  # [T, D]
    expression: Tensor  # [T, 30], each the mean over the window's span


def without_eye_head(parents: Mapping[str, StageWeights], plan: StagePlan) -> dict[str, StageWeights]:
    """The parents with a random eye head."""
    torch.manual_seed(plan.trainer.seed)
    motion = MotionEncoder(plan.networks.motion)
    parts: dict[str, nn.Module] = {
        "motion.to_eye": motion.to_eye,
        "motion.eye_embed": motion.eye_embed,
    }
    return {**parents, "stage2_eye": StageWeights("a random eye head", collect(parts))}


def scale_filters(stage: ExpressionStage, name: str, index: ClipIndex) -> None:
    """Replace the filters of the perceptual loss by the variant's, scaled on held-out frames."""
    losses = stage.model.get_submodule("picture_losses")
    assert isinstance(losses, PictureLosses)
    assert losses.vgg is not None
    reader, clips = ShardReader(index, ReaderSettings()), range(min(FRAMES_AT_ONCE, len(index)))
    frames = torch.stack([reader.frames(clip, [0])[0] for clip in clips])
    network = EfficientNetFeatures() if name == EFFICIENTNET else losses.vgg.network
    losses.vgg = FrozenNetwork(ScaledFeatures(network, to_network_input(frames, losses.side_px)))


def train_variant(
    name: str,
    root: UPath,
    config: TrainingConfig,
    plan: StagePlan,
    parents: Mapping[str, StageWeights],
    people: int,
) -> dict[str, float]:
    """Train one variant; returns its figures."""
    train, held_out = open_current(root, "train"), open_current(root, "validation")
    with join("cpu") as distributed, tempfile.TemporaryDirectory() as work:
        torch.manual_seed(plan.trainer.seed)
        stage = ExpressionStage(StageContext(plan.networks, parents, plan.pretrained), plan.settings)
        if name in (RANDOM, EFFICIENTNET):
            scale_filters(stage, name, held_out)
        logging = plan.logging.replace(checkpoint_every_steps=plan.trainer.steps)
        trainer_plan = TrainerPlan(plan.trainer, logging, Path(work), {"config": config.model_dump()})
        trainer = Trainer(stage, train, held_out, trainer_plan, distributed, lambda _: None)
        figures = {metric.name: metric.value for metric in trainer.run()}
        model = stage.model
        assert isinstance(model, ExpressionModel)
        with ema_scope(stage, trainer.ema, distributed.device):
            return figures | cross_driven_figures(model, stage.source(held_out), people)


def cross_driven_figures(
    model: ExpressionModel, source: ExpressionWindowSource, people: int
) -> dict[str, float]:
    """R and gain of readings, by name; every code from the driver, or one alone."""
    index, mesh = source.index, load_face_mesh()
    first = {index.identity(clip): clip for clip in reversed(range(len(index)))}
    clips = [encode_clip(model, source, clip) for clip in list(first.values())[:people]]
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for number, portrait in enumerate(clips):
        driver = clips[(number + 1) % len(clips)]
        real = read(mesh, driver.frames)
        for codes in ("all", "lip", "eye", "expression"):
            generated = read(mesh, render(model, portrait, driver, codes))
            pairs.setdefault(codes, []).append((real - real.mean(dim=0), generated - generated.mean(dim=0)))
    shown = {
        "all": READINGS,
        "lip": ("mouth",),
        "eye": ("lids", "gaze"),
        "expression": ("yaw",),
    }
    figures: dict[str, float] = {}
    for codes, names in shown.items():
        x, y = (torch.cat(side).double() for side in zip(*pairs[codes], strict=True))
        for name in names:
            place = READINGS.index(name)
            product = float((x[:, place] * y[:, place]).mean())
            variances = [float(side[:, place].square().mean()) for side in (x, y)]
            label = f"cross-driven {name}" if codes == "all" else f"{name} by {codes}"
            figures[f"{label} r"] = product / max((variances[0] * variances[1]) ** 0.5, 1e-12)
            figures[f"{label} gain"] = product / max(variances[0], 1e-12)
    return figures


def encode_clip(model: ExpressionModel, source: ExpressionWindowSource, clip: int) -> EncodedClip:
    """All frames of a clip as the generator's inputs."""
    index, count = source.index, source.frame_count(clip)
    reader = ShardReader(index, ReaderSettings())
    stored = torch.stack(reader.frames(clip, range(count)))
    parts = stored.split(FRAMES_AT_ONCE)
    feature = torch.cat(
        [model.encoders.trunk(to_network_input(part, model.motion_side_px)) for part in parts]
    )
    mels = torch.stack([read_mel_window(reader, clip, frame) for frame in range(count)])
    codes = model.expression(feature[:, None])
    spans = (source.window_span(clip, frame) for frame in range(count))
    expression = torch.stack([codes[first : first + span].mean(dim=0) for first, span in spans])
    frames = to_network_input(stored, model.side_px)
    return EncodedClip(frames, feature, model.encoders.audio(mels), expression)


def render(model: ExpressionModel, portrait: EncodedClip, driver: EncodedClip, codes: str) -> Tensor:
    """The first frame of `portrait` with the driver's codes; those not named stay the portrait's own."""
    count = len(driver.frames)

    def source(name: str) -> EncodedClip:
        return driver if codes in ("all", name) else portrait

    def rows(name: str, values: str) -> Tensor:
        tensor: Tensor = getattr(source(name), values)
        return tensor if source(name) is driver else tensor[:1].expand(count, -1)

    image, own = portrait.frames[:1].expand(count, -1, -1, -1), portrait.feature[:1].expand(count, -1)
    appearance = model.encoders.appearance(portrait.frames[:1])
    style = StyleVector(
        appearance.code.expand(count, -1),
        model.lip_code(rows("lip", "audio")),
        rows("expression", "expression"),
        model.encoders.eye(rows("eye", "feature")),
        model.encoders.pose(rows("pose", "feature")),
    )
    vector, maps = model.code_scale(style).to_vector(), appearance.map.expand(count, -1, -1, -1)
    parts = [slice(start, start + FRAMES_AT_ONCE) for start in range(0, count, FRAMES_AT_ONCE)]
    return torch.cat(
        [
            model.generator(vector[part], maps[part], "stored", portrait=Portrait(image[part], own[part]))
            for part in parts
        ]
    )


def read(mesh: nn.Module, images: Tensor) -> Tensor:
    """`READINGS` [N, 7] of images [N, 3, S, S]."""
    rows = list[Tensor]()
    for part in images.split(FRAMES_AT_ONCE):
        reading: FaceReading = mesh(part)
        points = reading.mesh
        eyes = torch.linalg.vector_norm(points[:, 33, :2] - points[:, 263, :2], dim=1)
        cheeks = points[:, [234, 454], 0]
        yaw = (points[:, 1, 0] - cheeks.mean(dim=1)) / (cheeks[:, 1] - cheeks[:, 0])
        mouth = torch.linalg.vector_norm(points[:, 13] - points[:, 14], dim=1) / eyes
        gaze, lids = eye_measures(reading)
        brows = points[:, [105, 334], 1] - points[:, [33, 263], 1]
        smile = points[:, [61, 291], 1].mean(dim=1) - points[:, 2, 1]
        measures = (
            *(yaw, mouth, lids.mean(dim=1), gaze[:, 0::2].mean(dim=1), gaze[:, 1::2].mean(dim=1)),
            *(brows.mean(dim=1) / eyes, smile / eyes),
        )
        rows.append(torch.stack(measures, dim=1))
    return torch.cat(rows)


@click.command(help=__doc__)
@click.argument("root")
@click.argument("run")
@click.option("--preset", default="tiny_cpu", show_default=True, help="That RUN was trained with.")
@click.option("--steps", default=400, show_default=True)
@click.option("--people", default=12, show_default=True, help="Held-out people in the cross-driven videos.")
@click.option("--variant", multiple=True, type=click.Choice(list(VARIANTS)), help="By default all.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(
    root: str,
    run: str,
    preset: PresetName,
    steps: int,
    people: int,
    variant: tuple[str, ...],
    json_path: Path | None,
) -> None:
    """Train and measure the variants."""
    opened = open_root(root)
    config = TrainingConfig(preset=preset, run=run, steps=steps, device="cpu")
    base = plan_stage(STAGE, config)
    parents = read_parents(opened, STAGE, config)
    results: dict[str, Any] = {}
    if json_path is not None and json_path.is_file():
        stored = json.loads(json_path.read_text("utf-8"))
        if stored["steps"] == steps:
            results |= stored["variants"]
    for name in variant or VARIANTS:
        if name in results or (name == EFFICIENTNET and name not in variant and not is_installed()):
            continue
        plan = dataclasses.replace(base, settings=VARIANTS[name](base.settings))
        chosen = without_eye_head(parents, plan) if name == "eye head untrained" else parents
        results[name] = train_variant(name, opened, config, plan, chosen, people)
        click.echo(f"{name}: {results[name]}")
        write_json(json_path, {"steps": steps, "variants": results})
    columns = list(next(iter(results.values())))
    show(
        f"Stage 3 of run {run}, {steps} steps",
        ["", *results],
        [
            [column, *(figures.get(column, float("nan")) for figures in results.values())]
            for column in columns
        ],
    )


if __name__ == "__main__":
    main()
