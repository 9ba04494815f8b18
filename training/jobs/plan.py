"""The presets by name, with what a person chose otherwise put in."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.external.vgg19 import VGG19_CHANNELS
from models.presets import NetworkPreset
from training.engine.settings import Cadence, LoopSettings
from training.jobs.config import TrainingConfig
from training.runs.paper import RUN as PAPER
from training.runs.preset import RunPreset
from training.runs.small_gpu import RUN as SMALL_GPU
from training.runs.tiny_cpu import RUN as TINY_CPU
from training.stage_catalog import RELEASED_SETTING, stage_info
from training.stages.stage import PretrainedFiles
from training.stages.stage3_expression import ExpressionSettings
from weights.resolve import ResolvedWeights, resolve_config

RUN_PRESETS: Final[Mapping[str, RunPreset]] = {"tiny_cpu": TINY_CPU, "small_gpu": SMALL_GPU, "paper": PAPER}


@dataclass(frozen=True)
class StagePlan:
    """All that is set for one stage of a run."""

    networks: NetworkPreset
    settings: Any  # the stage's own dataclass
    loop: LoopSettings
    cadence: Cadence
    weights: tuple[ResolvedWeights, ...]  # pretrained weights that the stage uses

    @property
    def pretrained(self) -> PretrainedFiles:
        """Paths of the pretrained networks in the losses."""
        paths = {file.setting: file.path for file in self.weights}
        return PretrainedFiles(
            vgg19=paths.get("vgg19_weights"),
            deep3d=paths.get("deep3d_weights"),
            emonet=paths.get("emonet_weights"),
            l2cs=paths.get("l2cs_weights"),
        )

    @property
    def released_folder(self) -> Path | None:
        """Folder of the released networks that the stage is initialised from; None: it is not."""
        paths = [file.path for file in self.weights if file.setting == RELEASED_SETTING]
        return paths[0].parent if paths else None


def plan_stage(stage: str, config: TrainingConfig) -> StagePlan:
    """The preset's plan for a stage, changed as chosen.

    Raises:
        FileNotFoundError: a file of pretrained weights does not exist.
        ValueError: it is not the expected file, or its licence was not accepted.
    """
    preset = RUN_PRESETS[config.preset]
    run = preset.stage(stage)
    loop = run.loop.replace(
        steps=config.steps or run.loop.steps,
        batch_size=config.batch_size or run.loop.batch_size,
        precision=run.loop.precision if config.precision == "preset" else config.precision,
        seed=config.seed,
        maximum_corrupt_clips=config.maximum_corrupt_clips,
    )
    cadence = preset.cadence
    if config.workers >= 0:
        cadence = cadence.replace(workers=config.workers)
    settings = run.settings
    if isinstance(settings, ExpressionSettings) and not config.decorrelation:
        weights = settings.weights.replace(decorrelation=0.0)
        settings = settings.replace(weights=weights)
    files = resolve_config(config, stage_info(stage).pretrained)
    networks = preset.network_preset
    if any(file.setting == "vgg19_weights" for file in files):
        # Like the other pretrained networks it has its own widths, whatever the preset's.
        perceptual = dataclasses.replace(networks.perceptual, block_channels=VGG19_CHANNELS)
        networks = dataclasses.replace(networks, perceptual=perceptual)
    return StagePlan(networks, settings, loop, cadence, files)
