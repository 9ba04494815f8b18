"""The discriminator: its settings, its losses, and its use in the generator's losses."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from models.discriminator import DiscriminatorConfig, MultiScaleDiscriminator, PatchScores
from storage.settings import Settings
from training.losses.pictures.adversarial import discriminator_hinge_loss
from training.losses.pictures.r1_penalty import r1_penalty
from training.stages.stage import LossModule, StepResult


class AdversarySettings(Settings):
    """Weights of the discriminator's losses. Hinge loss as in PC-AVS, which PD-FGC builds on; unverified."""

    discriminator: float = Field(
        default=1.0, ge=0, description="Weight of the discriminator's loss; λ_D of the official code"
    )
    r1: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the R1 penalty, half its gamma; 0: spectral normalisation only, as released",
    )

    def weights(self) -> dict[str, float]:
        """By loss."""
        return {"discriminator": self.discriminator} | ({"r1": self.r1} if self.r1 else {})


class Adversary(LossModule):
    """The discriminator and its losses."""

    def __init__(self, config: DiscriminatorConfig, settings: AdversarySettings) -> None:
        super().__init__()
        self.network = MultiScaleDiscriminator(config)
        self._settings = settings

    @override
    def forward(self, real: Tensor, generated: Tensor) -> StepResult:
        """Losses on real [B, 3, S, S] and generated [B, 3, S, S] images, both in [-1, 1]."""
        if self._settings.r1:
            real = real.detach().requires_grad_()
        output_real, output_generated = self.network(real), self.network(generated)
        losses = {"discriminator": discriminator_hinge_loss(scores(output_real), scores(output_generated))}
        if self._settings.r1:
            losses["r1"] = r1_penalty(scores(output_real), real)
        return StepResult(losses)


def scores(output: tuple[PatchScores, ...]) -> list[Tensor]:
    """The scores of every scale."""
    return [scale.score for scale in output]


def features(output: tuple[PatchScores, ...]) -> list[tuple[Tensor, ...]]:
    """The feature maps of every scale."""
    return [scale.features for scale in output]


@contextmanager
def frozen_parameters(network: nn.Module) -> Generator[nn.Module]:
    """Within, the network's weights get no gradients; its input does.

    For the discriminator in the generator's step: gradients of its weights would be wasted, and would start
    DDP's reduction in the wrong step.
    """
    flags = [(value, value.requires_grad) for value in network.parameters()]
    network.requires_grad_(requires_grad=False)
    try:
        yield network
    finally:
        for value, flag in flags:
            value.requires_grad_(flag)


def no_gradient_scores(network: nn.Module, real: Tensor) -> tuple[PatchScores, ...]:
    """The discriminator's output on real images as a target, without gradient."""
    with torch.no_grad():
        return network(real)
