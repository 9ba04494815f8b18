"""One player's turn in a step: its losses, one total, one step of its optimiser."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from training.engine.settings import LoopSettings, OptimiserSettings
from training.stages.stage import Player, StepResult


class Turn:
    """A player, its optimiser and how they step."""

    def __init__(
        self,
        player: Player,
        wrapped: nn.Module,
        loss_weights: Mapping[str, float],
        optimiser: OptimiserSettings,
        loop: LoopSettings,
    ) -> None:
        """Take the parameters that require gradients; `wrapped` is the player, or DDP around it."""
        self._wrapped = wrapped
        self._weights = loss_weights
        self._settings = optimiser
        self._loop = loop
        named = {name: value for name, value in player.named_parameters() if value.requires_grad}
        if not named:
            raise ValueError(f"{type(player).__name__} has no parameter that trains")
        self._parameters = list(named.values())
        self._factors, groups = grouped(named, player.rate_factors())
        self.optimiser = Adam(
            groups,
            lr=optimiser.learning_rate,
            betas=optimiser.betas,
            weight_decay=optimiser.weight_decay,
        )

    def play(self, step: int, *arguments: Any) -> tuple[StepResult, Tensor, Tensor]:
        """One step.

        Args:
            step: number of the step, from 0.
            arguments: of the player's forward.

        Returns:
            What the player gave, its weighted total, and the gradient's length before clipping (scalars on
            the device; of all processes' mean gradient).
        """
        for group, factor in zip(self.optimiser.param_groups, self._factors, strict=True):
            group["lr"] = self._settings.rate_at(step) * factor
        device = self._parameters[0].device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._loop.precision == "bfloat16"):
            result: StepResult = self._wrapped(*arguments)
        total = weighted_total(result.losses, self._weights)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        limit = self._loop.gradient_clip_norm or float("inf")
        length = torch.nn.utils.clip_grad_norm_(self._parameters, limit, foreach=True)
        self.optimiser.step()
        return result, total.detach(), length.detach()

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return self._settings.rate_at(step)


def grouped(
    named: Mapping[str, nn.Parameter], factors: Mapping[str, float]
) -> tuple[list[float], list[dict[str, list[nn.Parameter]]]]:
    """Parameters by the factor on their learning rate: the factors, and Adam's groups in the same order.

    Args:
        named: parameters by name.
        factors: by the beginning of a name; 1 for those of no such name.

    Raises:
        ValueError: a beginning is no parameter's.
    """
    unknown = [start for start in factors if not any(name.startswith(start) for name in named)]
    if unknown:
        raise ValueError(f"rate factors are set for {unknown}, and no parameter is named so")
    groups: dict[float, list[nn.Parameter]] = {}
    for name, value in named.items():
        factor = next((factors[start] for start in factors if name.startswith(start)), 1.0)
        groups.setdefault(factor, []).append(value)
    return list(groups), [{"params": values} for values in groups.values()]


def weighted_total(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """``Σ w_i L_i`` over the losses; a loss of weight 0 is told and trains nothing.

    Raises:
        ValueError: a loss has no weight, or every weight is 0.
    """
    missing = sorted(set(losses) - set(weights))
    if missing:
        raise ValueError(f"no weight is set for {missing}; weights are set for {sorted(weights)}")
    terms = [weights[name] * loss for name, loss in losses.items() if weights[name] != 0]
    if not terms:
        raise ValueError(f"every weight of {sorted(losses)} is 0: nothing would train")
    return torch.stack([term.float() for term in terms]).sum()
