"""Optimizer steps, the weighted sum of losses, and the check that they stay finite."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Adam

from storage.atomic import write_atomically
from training.data.batches import Batch, RowFacts
from training.engine.settings import LoggingConfig, OptimizerSettings, TrainerSettings
from training.stages.stage import LossModule, StepResult

NOT_FINITE_NAME: Final = "not_finite.json"


class OptimizerStep:
    """A loss module, its optimizer, and one step of it: forward, weighted sum, backward, update."""

    def __init__(
        self,
        module: LossModule,
        wrapped: nn.Module,
        loss_weights: Mapping[str, float],
        optimizer: OptimizerSettings,
        trainer: TrainerSettings,
    ) -> None:
        """Take the parameters that require gradients; `wrapped` is the module, or DDP around it."""
        self._wrapped = wrapped
        self._weights = loss_weights
        self._settings = optimizer
        self._trainer = trainer
        named = {name: value for name, value in module.named_parameters() if value.requires_grad}
        if not named:
            raise ValueError(f"{type(module).__name__} has no parameter that requires gradients")
        self._parameters = list(named.values())
        groups = group_by_settings(named, optimizer, module.part_optimizers())
        self._group_settings = list(groups)
        self.optimizer = Adam(
            [
                {
                    "params": values,
                    "lr": settings.learning_rate,
                    "betas": settings.betas,
                    "weight_decay": settings.weight_decay,
                }
                for settings, values in groups.items()
            ]
        )

    def step(self, step: int, *arguments: Any) -> tuple[StepResult, Tensor, Tensor]:
        """One optimizer step.

        Args:
            step: number of the training step, from 0.
            arguments: of the module's forward.

        Returns:
            The module's result, the weighted total, and the gradient norm before clipping; scalars on the
            device. Under DDP the norm is that of the mean gradient over all ranks.
        """
        for group, settings in zip(self.optimizer.param_groups, self._group_settings, strict=True):
            group["lr"] = settings.rate_at(step)
        device = self._parameters[0].device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._trainer.precision == "bfloat16"):
            result: StepResult = self._wrapped(*arguments)
        total = weighted_total(result.losses, self._weights)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        limit = self._trainer.gradient_clip_norm or float("inf")
        gradient_norm = torch.nn.utils.clip_grad_norm_(self._parameters, limit, foreach=True)
        self.optimizer.step()
        return result, total.detach(), gradient_norm.detach()

    def rate(self, step: int) -> float:
        """The learning rate of a step, of the parameters without settings of their own."""
        return self._settings.rate_at(step)


def group_by_settings(
    named: Mapping[str, nn.Parameter], default: OptimizerSettings, parts: Mapping[str, OptimizerSettings]
) -> dict[OptimizerSettings, list[nn.Parameter]]:
    """Group parameters by their optimizer settings.

    Args:
        named: parameters by name.
        default: of names without a prefix in `parts`.
        parts: by prefix of the name.

    Raises:
        ValueError: a prefix matches no parameter.
    """
    unknown = [prefix for prefix in parts if not any(name.startswith(prefix) for name in named)]
    if unknown:
        raise ValueError(f"optimizer settings are given for {unknown}, but no parameter name starts so")
    groups: dict[OptimizerSettings, list[nn.Parameter]] = {}
    for name, value in named.items():
        settings = next((parts[prefix] for prefix in parts if name.startswith(prefix)), default)
        groups.setdefault(settings, []).append(value)
    return groups


def weighted_total(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """``Σ w_i L_i``. A loss of weight 0 is logged but not optimised.

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


class NotFiniteError(ArithmeticError):
    """A loss or a gradient is NaN or infinite; the keys of the batches were saved."""


class FiniteGuard:
    """Raises at the first loss or gradient that is not finite, and saves which samples were involved.

    Checks every `finite_check_every_steps`, because each check waits for the GPU; remembers the samples of
    all steps since the last check.
    """

    def __init__(self, stage: str, work: Path, rank: int, logging: LoggingConfig) -> None:
        self._stage, self._file, self._logging = stage, work / f"rank-{rank}-{NOT_FINITE_NAME}", logging
        self._recent: list[tuple[int, RowFacts]] = []  # not the batches: their images are gigabytes

    def check(
        self, step: int, batch: Batch, values: Sequence[Tensor], losses: Mapping[str, Tensor], *, now: bool
    ) -> None:
        """Check one step's values, if a check is due.

        Args:
            step: its number, from 0.
            batch: its batch.
            values: totals and gradient norms. Gradients are averaged over ranks, so one rank's bad batch
                stops every rank at the same step.
            losses: by name, for the message.
            now: check even if none is due.

        Raises:
            NotFiniteError: one is NaN or infinite; a file in the work folder lists the recent batches.
        """
        self._recent.append((step, batch.facts))
        if not now and (step + 1) % self._logging.finite_check_every_steps:
            return
        recent, self._recent = self._recent, []
        if bool(torch.isfinite(torch.stack([value.float() for value in values])).all()):
            return
        shown = {name: str(float(value.detach())) for name, value in losses.items()}
        batches = [
            {"step": at, "keys": facts.keys, "frames": facts.frames, "seeds": facts.seeds}
            for at, facts in recent
        ]
        with write_atomically(self._file) as partial:
            partial.write_text(
                json.dumps({"step": step, "losses": shown, "batches": batches}, indent=1), "utf-8"
            )
        raise NotFiniteError(
            f"{self._stage}: loss or gradient is not finite at step {step} ({shown}); sample keys are in "
            f"{self._file}. The last checkpoint is intact: lower the learning rate or set "
            "gradient_clip_norm, then start again"
        )
