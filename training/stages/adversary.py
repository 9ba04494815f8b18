"""The discriminator's turn, and how the model's turn looks through it."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from models.discriminator import DiscriminatorConfig, MultiScaleDiscriminator, PatchScores
from storage.settings import Settings
from training.losses.adversarial import discriminator_hinge_loss
from training.losses.r1_penalty import r1_penalty
from training.stages.stage import Player, StepResult


class AdversarySettings(Settings):
    """The discriminator's losses. Hinge as PC-AVS, the ancestor, has it; unverified for PD-FGC."""

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


class Adversary(Player):
    """The discriminator and its losses."""

    def __init__(self, config: DiscriminatorConfig, settings: AdversarySettings) -> None:
        super().__init__()
        self.network = MultiScaleDiscriminator(config)
        self._settings = settings

    @override
    def forward(self, real: Tensor, generated: Tensor) -> StepResult:
        """Losses of telling real [B, 3, S, S] from generated [B, 3, S, S], both in [-1, 1]."""
        if self._settings.r1:
            real = real.detach().requires_grad_()
        verdict_real, verdict_generated = self.network(real), self.network(generated)
        losses = {"discriminator": discriminator_hinge_loss(scores(verdict_real), scores(verdict_generated))}
        if self._settings.r1:
            losses["r1"] = r1_penalty(scores(verdict_real), real)
        return StepResult(losses)


def scores(verdict: tuple[PatchScores, ...]) -> list[Tensor]:
    """The scores of every scale."""
    return [scale.score for scale in verdict]


def features(verdict: tuple[PatchScores, ...]) -> list[tuple[Tensor, ...]]:
    """The maps of every scale."""
    return [scale.features for scale in verdict]


@contextmanager
def held_still(network: nn.Module) -> Generator[nn.Module]:
    """The network, its weights without gradients: what is computed within passes them to its input alone.

    The discriminator in the model's turn: gradients of its weights would be wasted, and would set off DDP's
    reduction in the wrong turn.
    """
    flags = [(value, value.requires_grad) for value in network.parameters()]
    network.requires_grad_(requires_grad=False)
    try:
        yield network
    finally:
        for value, flag in flags:
            value.requires_grad_(flag)


def no_gradient_scores(network: nn.Module, real: Tensor) -> tuple[PatchScores, ...]:
    """The verdict on real pictures, as a target: no gradient to anything."""
    with torch.no_grad():
        return network(real)
