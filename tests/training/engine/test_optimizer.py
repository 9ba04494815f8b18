import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from tests.factories.training.stages import row_facts
from training.data.batches import Batch
from training.engine.optimizer import (
    FiniteGuard,
    NotFiniteError,
    OptimizerStep,
    group_by_settings,
    weighted_total,
)
from training.engine.settings import LoggingConfig, OptimizerSettings, TrainerSettings
from training.stages.stage import LossModule, StepResult

TRAINER = TrainerSettings(steps=1, batch_size=1)
PLAIN = OptimizerSettings(learning_rate=0.1, betas=(0.0, 0.0), weight_decay=0.0)


class Pair(LossModule):
    """Two numbers; the loss is their weighted sum."""

    def __init__(self, parts: Mapping[str, OptimizerSettings] | None = None) -> None:
        super().__init__()
        self.slow, self.fast = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))
        self.frozen = nn.Parameter(torch.tensor(1.0), requires_grad=False)
        self._parts = parts or {}

    @override
    def part_optimizers(self) -> Mapping[str, OptimizerSettings]:
        return self._parts

    @override
    def forward(self, scale: Tensor) -> StepResult:
        return StepResult({"a": 3 * self.slow * scale + self.frozen, "b": 4 * self.fast * scale})


class Product(LossModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.output_dtype: torch.dtype | None = None

    @override
    def forward(self, values: Tensor) -> StepResult:
        out: Tensor = self.layer(values)
        self.output_dtype = out.dtype
        return StepResult({"a": out.float().square().mean()})


def test_weighted_total_sums_weighted_losses() -> None:
    losses = {"a": torch.tensor(2.0), "b": torch.tensor(5.0, dtype=torch.bfloat16), "c": torch.tensor(7.0)}
    total = weighted_total(losses, {"a": 0.5, "b": 10.0, "c": 0.0, "of another module": 1.0})
    assert total.item() == 51
    assert total.dtype == torch.float32


def test_weighted_total_ignores_nan_of_weight_zero() -> None:
    losses = {"a": torch.tensor(2.0), "b": torch.tensor(math.nan)}
    assert weighted_total(losses, {"a": 1.0, "b": 0.0}).item() == 2


def test_weighted_total_rejects_missing_weight() -> None:
    with pytest.raises(ValueError, match=r"no weight is set for \['b'\]; weights are set for \['a'\]"):
        weighted_total({"a": torch.tensor(1.0), "b": torch.tensor(1.0)}, {"a": 1.0})
    with pytest.raises(ValueError, match="nothing would train"):
        weighted_total({"a": torch.tensor(1.0)}, {"a": 0.0})


def test_optimizer_step_applies_part_settings() -> None:
    module = Pair({"fast": PLAIN.replace(learning_rate=0.3)})
    step = OptimizerStep(module, module, {"a": 1.0, "b": 1.0}, PLAIN, TRAINER)
    _, total, norm = step.step(0, torch.tensor(1.0))
    # Adam without memory moves by the rate, whatever the gradient.
    assert (module.slow.item(), module.fast.item()) == (pytest.approx(0.9), pytest.approx(0.7))
    assert module.frozen.item() == 1
    assert (total.item(), norm.item()) == (8, 5)
    assert step.rate(0) == 0.1


def test_optimizer_step_clips_and_returns_unclipped_norm() -> None:
    module = Pair()
    trainer = TrainerSettings(steps=1, batch_size=1, gradient_clip_norm=2.5)
    _, _, norm = OptimizerStep(module, module, {"a": 1.0, "b": 1.0}, PLAIN, trainer).step(
        0, torch.tensor(1.0)
    )
    assert norm.item() == 5
    assert module.slow.grad is not None
    assert module.slow.grad.item() == pytest.approx(1.5, abs=1e-5)


def test_optimizer_step_sets_rate_of_its_step() -> None:
    settings = OptimizerSettings(
        learning_rate=0.1, betas=(0.0, 0.0), weight_decay=0.0, decay_every_steps=10, decay_factor=0.5
    )
    module = Pair({"fast": settings.replace(learning_rate=0.3)})
    step = OptimizerStep(module, module, {"a": 1.0, "b": 1.0}, settings, TRAINER)
    step.step(25, torch.tensor(1.0))
    assert [group["lr"] for group in step.optimizer.param_groups] == pytest.approx([0.025, 0.075])


def test_group_by_settings_rejects_unknown_prefix() -> None:
    with pytest.raises(ValueError, match=r"optimizer settings are given for \['gone'\]"):
        group_by_settings({"a": nn.Parameter(torch.ones(1))}, PLAIN, {"gone": PLAIN})


def test_optimizer_step_rejects_frozen_module() -> None:
    module = Pair().requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match="Pair has no parameter that requires gradients"):
        OptimizerStep(module, module, {"a": 1.0, "b": 1.0}, PLAIN, TRAINER)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_optimizer_step_autocasts_forward_only(precision: str, dtype: torch.dtype) -> None:
    module = Product()
    before = module.layer.weight.detach().clone()
    trainer = TrainerSettings(steps=1, batch_size=1, precision=precision)  # pyright: ignore[reportArgumentType]
    OptimizerStep(module, module, {"a": 1.0}, PLAIN, trainer).step(0, torch.ones(2, 4))
    assert module.output_dtype == dtype
    assert module.layer.weight.dtype == torch.float32
    assert not torch.equal(module.layer.weight, before)


def test_optimizer_step_resets_gradients() -> None:
    module = Pair()
    step = OptimizerStep(module, module, {"a": 1.0, "b": 1.0}, PLAIN, TRAINER)
    norms = [step.step(number, torch.tensor(1.0))[2].item() for number in range(2)]
    assert norms == [5, 5]


FINITE, LOSSES = [torch.tensor(1.0), torch.tensor(2.0)], {"vgg": torch.tensor(1.0)}


def make_batch(number: int) -> Batch:
    return Batch(row_facts(2, keys=[f"a{number}", f"b{number}"], frames=[number, 1]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_finite_guard_saves_batches_since_last_check(tmp_path: Path, value: float) -> None:
    guard = FiniteGuard("stage", tmp_path, 3, LoggingConfig(finite_check_every_steps=2))
    for step in range(3):
        guard.check(step, make_batch(step), FINITE, LOSSES, now=False)
    with pytest.raises(NotFiniteError, match=r"stage: .* at step 3 \(\{'vgg': .*rank-3-not_finite"):
        guard.check(
            3, make_batch(3), [FINITE[0], torch.tensor(value)], {"vgg": torch.tensor(value)}, now=False
        )
    saved = json.loads((tmp_path / "rank-3-not_finite.json").read_text())
    assert saved["step"] == 3
    assert saved["losses"] == {"vgg": str(value)}
    assert saved["batches"] == [
        {"step": step, "keys": [f"a{step}", f"b{step}"], "frames": [step, 1], "seeds": [1000, 1001]}
        for step in (2, 3)
    ]


def test_finite_guard_checks_at_its_interval_or_on_demand(tmp_path: Path) -> None:
    guard = FiniteGuard("stage", tmp_path, 0, LoggingConfig(finite_check_every_steps=10))
    nan = [torch.tensor(math.nan)]
    guard.check(0, make_batch(0), nan, LOSSES, now=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFiniteError):
        guard.check(1, make_batch(1), nan, LOSSES, now=True)
