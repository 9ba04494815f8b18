"""What the loop knows of a stage: what trains, its named losses, what is saved, and its held-out figures."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from models.presets import NetworkPreset
from training.data.batches import Batch
from training.data.index import ClipIndex
from training.data.loader import LoaderSettings
from training.data.sources import Source
from training.engine.settings import OptimiserSettings
from training.engine.stage_weights import StageWeights
from training.stage_catalog import stage_info

AnyBatch = TypeVar("AnyBatch", bound=Batch)


@dataclass(frozen=True)
class PretrainedFiles:
    """Files of pretrained networks in the losses; None: the built-in default."""

    vgg19: Path | None = None
    deep3d: Path | None = None
    emonet: Path | None = None
    l2cs: Path | None = None


@dataclass(frozen=True)
class StageContext:
    """What a stage is built from."""

    networks: NetworkPreset
    parents: Mapping[str, StageWeights]  # by stage name
    pretrained: PretrainedFiles = PretrainedFiles()


@dataclass(frozen=True)
class StepResult:
    """What one step gave.

    losses: scalars by name, unweighted. real, generated: [B, 3, S, S] RGB in [-1, 1], for the adversary;
    None in a stage without one.
    """

    losses: Mapping[str, Tensor]
    real: Tensor | None = None
    generated: Tensor | None = None


@dataclass(frozen=True)
class Figure:
    """A held-out figure and what it must beat.

    chance: what guessing, the mean label or copying the input reaches; None where there is no such thing.
    """

    name: str
    value: float
    chance: float | None
    higher_is_better: bool
    unit: str = ""
    rows: int = 0  # that it was measured on
    decides: bool = True  # whether the stage's check asks it to beat chance

    @property
    def beats_chance(self) -> bool | None:
        """Whether it is better than chance; None where there is none."""
        if self.chance is None:
            return None
        return self.value > self.chance if self.higher_is_better else self.value < self.chance


class Player(nn.Module):
    """A module whose forward gives a `StepResult`; its parameters that require gradients train."""

    def rate_factors(self) -> Mapping[str, float]:
        """Factors on the learning rate of parameters, by the beginning of their names; 1 for all others."""
        return {}


class Frozen(nn.Module):
    """A network that takes part and does not train: no gradients for its weights, always in evaluation mode.

    Gradients still pass through it to its input.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(requires_grad=False)
        self.eval()

    @override
    def train(self, mode: bool = True) -> "Frozen":
        """Evaluation mode, whatever is asked for."""
        del mode
        return super().train(mode=False)

    @override
    def forward(self, image: Tensor) -> Any:
        """What the network says: a tensor, or its own dataclass of tensors."""
        return self.network(image)


class Stage(ABC, Generic[AnyBatch]):
    """One stage of training. The loop drives it and never asks which it is.

    Attributes of an instance: `model` (forward takes a batch), `adversary` (forward takes real and
    generated pictures; None without one), `loss_weights` for every loss of both, the two optimisers'
    settings, and `saved`: the networks by the name under which a checkpoint keeps them, dots meaning
    "part of" (`motion.to_mouth`).
    """

    name: ClassVar[str]
    version: ClassVar[str]  # raised when the same settings would train something else
    settings_type: ClassVar[type[Any]]  # its defaults serve presets that do not list the stage

    model: Player
    adversary: Player | None
    loss_weights: Mapping[str, float]
    optimiser: OptimiserSettings
    adversary_optimiser: OptimiserSettings | None
    saved: Mapping[str, nn.Module]
    averaged: tuple[str, ...]  # names in `saved` of which a moving average is kept

    @abstractmethod
    def __init__(self, context: StageContext, settings: Any) -> None:
        """Build the networks; `settings` is of `settings_type`."""

    @abstractmethod
    def source(self, index: ClipIndex) -> Source[AnyBatch]:
        """The samples of a split."""

    @abstractmethod
    def held_out(self, batches: Iterable[AnyBatch]) -> list[Figure]:
        """Figures over clips that were never trained on; rows with `facts.real` False are left out.

        The networks are in evaluation mode, gradients are off.
        """

    def sample_grid(self, batch: AnyBatch) -> Tensor | None:
        """Pictures of what it makes of a batch: [rows, columns, 3, S, S] RGB in [-1, 1]; None: none."""
        del batch
        return None

    def finish(self, index: ClipIndex, settings: LoaderSettings) -> str:
        """Measure what is kept with the weights, once: after the last step, before its checkpoint.

        On the first process alone; the networks are in evaluation mode, gradients are off, and random
        numbers that are used up come back. It must come out the same whatever checkpoint a run began at.

        Args:
            index: the clips that were trained on.
            settings: of the loader in training.

        Returns:
            A line for the person; empty: there is nothing to tell.
        """
        del index, settings
        return ""

    def rank_state(self) -> dict[str, Tensor]:
        """Tensors that each rank keeps for itself beside the networks (memory banks)."""
        return {}

    def load_rank_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `rank_state` gave.

        Raises:
            ValueError: it is not this stage's.
        """
        if state:
            raise ValueError(f"{self.name} keeps no state of its own, the checkpoint holds {sorted(state)}")

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        self.model.to(device)
        if self.adversary is not None:
            self.adversary.to(device)


def stage_class(name: str) -> type[Stage[Any]]:
    """The class of a stage of the catalog: `STAGE` in `training/stages/<name>.py`.

    Raises:
        ValueError: there is no stage of that name.
    """
    found: type[Stage[Any]] = import_module(f"training.stages.{stage_info(name).name}").STAGE
    assert found.name == name
    return found


def real_rows(batch: Batch) -> list[int]:
    """Rows of a single pass that count."""
    return [row for row, real in enumerate(batch.facts.real) if real]
