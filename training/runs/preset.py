"""A run preset: the networks' sizes, and how each stage trains."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models.presets import NetworkPreset, preset_named
from training.engine.settings import LoggingConfig, TrainerSettings
from training.stages.stage import stage_class


@dataclass(frozen=True)
class StageRun:
    """How a preset trains one stage."""

    settings: Any  # of the stage's `settings_type`
    trainer: TrainerSettings


@dataclass(frozen=True)
class RunPreset:
    """A whole run, stage by stage.

    Attributes:
        networks: which network preset.
        stages: by name. A stage that is not listed trains with its own defaults and `default_trainer`.
        default_trainer: of stages that are not listed.
        logging: of every stage.
        named_weights: weights settings that must name a file, or by name its fallback.
    """

    networks: Literal["official", "official_warp", "small", "small_mesh", "tiny", "tiny_mesh"]
    stages: Mapping[str, StageRun]
    default_trainer: TrainerSettings
    logging: LoggingConfig = LoggingConfig()
    named_weights: tuple[str, ...] = ()

    @property
    def network_preset(self) -> NetworkPreset:
        """The networks' settings."""
        return preset_named(self.networks)

    def stage(self, name: str) -> StageRun:
        """How a stage trains.

        Raises:
            ValueError: there is no stage of that name.
        """
        return self.stages.get(name) or StageRun(stage_class(name).settings_type(), self.default_trainer)
