"""The interface of a training stage: what trains, its named losses, what it saves, its held-out metrics."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from training.engine.progress import HeldOutMetric
from training.engine.settings import OptimizerSettings
from training.engine.stage_weights import StageWeights
from training.stage_catalog import stage_info

AnyBatch = TypeVar("AnyBatch", bound=Batch)


@dataclass(frozen=True)
class PretrainedFiles:
    """Files of the pretrained networks that the settings `<name>_weights` name; None: not used.

    `appearance` holds initial weights of the appearance encoder's trunk, the others networks of the losses.
    """

    vgg19: Path | None = None
    deep3d: Path | None = None
    emonet: Path | None = None
    l2cs: Path | None = None
    appearance: Path | None = None


@dataclass(frozen=True)
class StageContext:
    """What a stage is built from."""

    networks: NetworkPreset
    parents: Mapping[str, StageWeights]  # by stage name
    pretrained: PretrainedFiles = PretrainedFiles()


@dataclass(frozen=True)
class StepResult:
    """The result of one forward pass.

    losses: unweighted scalars by name. real, generated: [B, 3, S, S] RGB in [-1, 1], for the discriminator;
    None in a stage without one.
    """

    losses: Mapping[str, Tensor]
    real: Tensor | None = None
    generated: Tensor | None = None


def own_rows(rows: Tensor) -> Tensor:
    """The rows of this process."""
    return rows


class LossModule(nn.Module):
    """A module whose forward returns a `StepResult`. Its parameters that require gradients are trained.

    A loss that compares rows of the batch with each other takes them through `gather_rows`, [B, …] ->
    [R B, …]: the rows of all R processes where `TrainerSettings.gather_over_ranks` is set, else its input.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gather_rows: Callable[[Tensor], Tensor] = own_rows

    def part_optimizers(self) -> Mapping[str, OptimizerSettings]:
        """Optimizer settings of some parameters, by prefix of the name; all others have the stage's."""
        return {}


class FrozenNetwork(nn.Module):
    """A network that is used but not trained: its weights get no gradients, and it stays in evaluation mode.

    Gradients still pass through it to its input.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(requires_grad=False)
        self.eval()

    @override
    def train(self, mode: bool = True) -> "FrozenNetwork":
        """Stay in evaluation mode."""
        del mode
        return super().train(mode=False)

    @override
    def forward(self, image: Tensor, *inputs: Any) -> Any:
        """The network's output: a tensor, or its own dataclass of tensors."""
        return self.network(image, *inputs)


class Stage(ABC, Generic[AnyBatch]):
    """One stage of training. The trainer runs it without knowing which one it is.

    Attributes of an instance: `model` (forward takes a batch), `adversary` (forward takes real and
    generated images; None without one), `loss_weights` for every loss of both, the settings of both
    optimizers, and `saved`: the networks by the name under which checkpoints keep them, a dot meaning
    "part of" (`motion.to_mouth`).
    """

    name: ClassVar[str]  # as in the catalog
    version: ClassVar[str]  # raise it when the same settings train something else
    sample_columns: ClassVar[tuple[str, ...]] = ()  # titles of a sample grid's columns
    settings_type: ClassVar[type[Any]]  # its defaults serve presets that do not list the stage

    model: LossModule
    adversary: LossModule | None = None
    loss_weights: Mapping[str, float]
    optimizer: OptimizerSettings
    adversary_optimizer: OptimizerSettings | None = None
    saved: Mapping[str, nn.Module]
    averaged: tuple[str, ...] = ()  # names in `saved` of which an EMA is kept

    @abstractmethod
    def __init__(self, context: StageContext, settings: Any) -> None:
        """Build the networks; `settings` is of `settings_type`."""

    def prepare(self, indexes: Sequence[ClipIndex], settings: LoaderSettings) -> None:
        """Compute what training reads of frozen networks, once: before the first step of every process.

        The networks are as built, a resumed run's checkpoint is loaded afterwards. In evaluation mode,
        without gradients; the random state is restored.

        Args:
            indexes: the clips of every split that is used, training first.
            settings: of the loader in training.
        """
        del indexes, settings

    @abstractmethod
    def source(self, index: ClipIndex) -> Source[AnyBatch]:
        """The samples of a split."""

    @abstractmethod
    def held_out(self, batches: Iterable[AnyBatch]) -> list[HeldOutMetric]:
        """Metrics on the validation split; rows whose `facts.real` is False do not count.

        The networks are in evaluation mode, gradients are off.
        """

    def sample_grid(self, batch: AnyBatch) -> Tensor | None:
        """Images generated for a batch: [rows, columns, 3, S, S] RGB in [-1, 1]; None: no grid.

        `sample_columns` are the titles of the columns.
        """
        del batch
        return None

    def finish(self, index: ClipIndex, settings: LoaderSettings) -> None:
        """Compute what is saved with the weights, once: after the last step, before its checkpoint.

        On rank 0 alone; the networks are in evaluation mode, gradients are off, and the random state is
        restored afterwards. The result must not depend on the checkpoint that a run was resumed from.

        Args:
            index: the training clips.
            settings: of the loader in training.
        """
        del index, settings

    def rank_state(self) -> dict[str, Tensor]:
        """Tensors that each rank keeps beside the networks, such as memory banks."""
        return {}

    def load_rank_state(self, state: Mapping[str, Tensor]) -> None:
        """Load what `rank_state` returned.

        Raises:
            ValueError: it is not this stage's.
        """
        if state:
            raise ValueError(f"{self.name} keeps no state per rank, but the checkpoint holds {sorted(state)}")

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
    stage: type[Stage[Any]] = import_module(f"training.stages.{stage_info(name).name}").STAGE
    assert stage.name == name
    return stage


def real_rows(batch: Batch) -> list[int]:
    """Rows of a single pass that count."""
    return [row for row, real in enumerate(batch.facts.real) if real]
