"""A stage's plan: the run preset, with the settings of the training configuration applied."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.external.vgg19 import VGG19_CHANNELS
from models.presets import OFFICIAL, NetworkPreset
from training.engine.settings import LoggingConfig, TrainerSettings
from training.jobs.config import EXPORTED_SUFFIX, TrainingConfig
from training.jobs.exported_start import exported_start, require_same_networks
from training.runs.paper import RUN as PAPER
from training.runs.preset import RunPreset
from training.runs.small_gpu import RUN as SMALL_GPU
from training.runs.starter import RUN as STARTER
from training.runs.tiny_cpu import RUN as TINY_CPU
from training.stage_catalog import APPEARANCE_SETTING, RELEASED_SETTING, stage_info
from training.stages.codes.code_scale import UNSCALED
from training.stages.expression_model import ExpressionStageSettings
from training.stages.pictures.picture_losses import FLOW_LOSSES
from training.stages.stage import PretrainedFiles
from training.stages.stage1_motion import MotionStageSettings
from weights.catalog import files_for_setting, taken_by_setting
from weights.folder import cached_sha256
from weights.resolve import ResolvedWeights, resolve_config

FALLBACKS: Final[Mapping[str, str]] = {"vgg19_weights": "random"}
"""Value of a weights setting that asks by name for what it means without a file."""

RUN_PRESETS: Final[Mapping[str, RunPreset]] = {
    "tiny_cpu": TINY_CPU,
    "starter": STARTER,
    "small_gpu": SMALL_GPU,
    "paper": PAPER,
}


@dataclass(frozen=True)
class StagePlan:
    """All settings of one stage of a run."""

    networks: NetworkPreset
    settings: Any  # of the stage's `settings_type`
    trainer: TrainerSettings
    logging: LoggingConfig
    weights: tuple[ResolvedWeights, ...]  # pretrained weights that the stage uses

    @property
    def pretrained(self) -> PretrainedFiles:
        """Paths of the pretrained networks."""
        files = [file for file in self.weights if file.setting != RELEASED_SETTING]
        return PretrainedFiles(**{file.setting.removesuffix("_weights"): file.path for file in files})

    @property
    def released_folder(self) -> Path | None:
        """Folder of the released files that the stage is initialised with; None: it is not."""
        paths = [file.path for file in self.weights if file.setting == RELEASED_SETTING]
        return paths[0].parent if paths and self.exported_file is None else None

    @property
    def exported_file(self) -> Path | None:
        """The exported model that the stage is initialised with; None: it is not."""
        paths = [file.path for file in self.weights if file.setting == RELEASED_SETTING]
        return paths[0] if paths and paths[0].suffix == EXPORTED_SUFFIX else None


def plan_stage(stage: str, config: TrainingConfig) -> StagePlan:
    """The preset's plan for a stage, with the configuration applied.

    Raises:
        FileNotFoundError: a file of pretrained weights is missing.
        ValueError: such a file is damaged or another one, its licence was not accepted, or it does not fit
            the preset's networks.
    """
    preset = RUN_PRESETS[config.preset]
    run = preset.stage(stage)
    trainer = run.trainer.replace(
        steps=config.steps or run.trainer.steps,
        batch_size=config.batch_size or run.trainer.batch_size,
        precision=run.trainer.precision if config.precision == "preset" else config.precision,
        seed=config.seed,
        maximum_corrupt_clips=config.maximum_corrupt_clips,
    )
    logging = preset.logging
    if config.workers is not None and config.workers >= 0:
        logging = logging.replace(workers=config.workers)
    settings = run.settings
    if isinstance(settings, ExpressionStageSettings) and not config.decorrelation:
        weights = settings.weights.replace(decorrelation=0.0)
        settings = settings.replace(weights=weights)
    files = stage_weights(stage, config)
    if isinstance(settings, ExpressionStageSettings) and config.start_from:
        settings = _for_initial_weights(settings, config)
    networks = preset.network_preset
    if isinstance(settings, MotionStageSettings | ExpressionStageSettings):  # the stages with a generator
        networks = with_appearance_path(networks, config)
    if any(file.setting == APPEARANCE_SETTING for file in files):
        require_resnext50(networks, config)
    if networks.generator.appearance_path == "map" and isinstance(
        settings, MotionStageSettings | ExpressionStageSettings
    ):
        off = dict.fromkeys(FLOW_LOSSES, 0.0)  # there is no flow
        settings = settings.replace(weights=settings.weights.replace(**off))
    if any(file.setting == "vgg19_weights" for file in files):
        # Pretrained VGG19 has its own widths, whatever the preset's.
        vgg19 = dataclasses.replace(networks.vgg19, block_channels=VGG19_CHANNELS)
        networks = dataclasses.replace(networks, vgg19=vgg19)
    return StagePlan(networks, settings, trainer, logging, files)


def _for_initial_weights(
    settings: ExpressionStageSettings, config: TrainingConfig
) -> ExpressionStageSettings:
    if exported_start(config.start_from) is not None:
        return settings.replace(measure_codes=False)  # the factors are a part of the exported model
    # The released generator reads codes as they are.
    return settings.replace(code_shares=UNSCALED, start_from_motion_feature=False)


def with_appearance_path(networks: NetworkPreset, config: TrainingConfig) -> NetworkPreset:
    """The networks with the generator's appearance path of the configuration.

    Raises:
        ValueError: the released generator, which has the path `map`, cannot start one with another.
    """
    path = config.appearance_path
    if config.start_from and exported_start(config.start_from) is None:
        if path == "warp":
            raise ValueError("start_from needs appearance_path map: the released generator has no warp path")
        path = "map"
    if path == "preset":
        return networks
    return dataclasses.replace(
        networks, generator=dataclasses.replace(networks.generator, appearance_path=path)
    )


def require_resnext50(networks: NetworkPreset, config: TrainingConfig) -> None:
    """Refuse `appearance_weights` where they would not fit or be overwritten.

    Raises:
        ValueError: the preset's appearance encoder is no ResNeXt-50, or `start_from` is set as well.
    """
    if networks.appearance.trunk != OFFICIAL.appearance.trunk:
        raise ValueError(
            "appearance_weights need a preset whose appearance encoder is a ResNeXt-50 (small_gpu, paper), "
            f"got {config.preset}"
        )
    if config.start_from:
        raise ValueError(
            "appearance_weights and start_from both initialise the appearance encoder: set one of them"
        )


def stage_weights(stage: str, config: TrainingConfig) -> tuple[ResolvedWeights, ...]:
    """The files that a stage uses. Raises as `plan_stage`."""
    used = stage_info(stage).pretrained
    if exported_start(config.start_from) is not None and RELEASED_SETTING not in used:
        used = (*used, RELEASED_SETTING)  # an exported model holds a trunk for `perception` too
    return training_weights(config, used)


def training_weights(
    config: TrainingConfig, settings: Sequence[str] | None = None
) -> tuple[ResolvedWeights, ...]:
    """The files that the weights settings select, by default all of them; none for a named fallback.

    Raises as `plan_stage`.
    """
    start = exported_start(config.start_from)
    if start is not None:
        others = training_weights(config.replace(start_from=""), settings)
        if settings is not None and RELEASED_SETTING not in settings:
            return others
        networks = RUN_PRESETS[config.preset].network_preset
        require_same_networks(start, with_appearance_path(networks, config), config.preset)
        return (*others, ResolvedWeights(RELEASED_SETTING, start, cached_sha256(start), None, None))
    named = [setting for setting, name in FALLBACKS.items() if getattr(config, setting) == name]
    return resolve_config(config.replace(**dict.fromkeys(named, "")), settings)


def require_named_weights(config: TrainingConfig) -> None:
    """Refuse a configuration that leaves weights open which its preset wants named.

    Raises:
        ValueError: such a setting is empty.
    """
    for setting in RUN_PRESETS[config.preset].named_weights:
        if not getattr(config, setting):
            weights = taken_by_setting(setting)[0]
            file = files_for_setting(weights, setting)[0].name
            raise ValueError(
                f"preset {config.preset} needs {file}: run `pdfgc weights fetch {weights.name}` and set "
                f"{setting} to {weights.name}, or to {FALLBACKS[setting]} to train without it"
            )
