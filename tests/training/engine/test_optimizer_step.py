import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from training.engine.optimizer_step import Turn, grouped, weighted_total
from training.engine.settings import LoopSettings, OptimiserSettings
from training.stages.stage import Player, StepResult

LOOP = LoopSettings(steps=1, batch_size=1)
PLAIN = OptimiserSettings(learning_rate=0.1, betas=(0.0, 0.0), weight_decay=0.0)


class Pair(Player):
    """Two numbers; the loss is their weighted sum."""

    def __init__(self, factors: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.slow, self.fast = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))
        self.still = nn.Parameter(torch.tensor(1.0), requires_grad=False)
        self._factors = factors or {}

    @override
    def rate_factors(self) -> Mapping[str, float]:
        return self._factors

    @override
    def forward(self, scale: Tensor) -> StepResult:
        return StepResult({"a": 3 * self.slow * scale + self.still, "b": 4 * self.fast * scale})


class Product(Player):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.seen: torch.dtype | None = None

    @override
    def forward(self, values: Tensor) -> StepResult:
        out: Tensor = self.layer(values)
        self.seen = out.dtype
        return StepResult({"a": out.float().square().mean()})


def test_the_total_is_the_weighted_sum() -> None:
    losses = {"a": torch.tensor(2.0), "b": torch.tensor(5.0, dtype=torch.bfloat16), "c": torch.tensor(7.0)}
    total = weighted_total(losses, {"a": 0.5, "b": 10.0, "c": 0.0, "of the other player": 1.0})
    assert total.item() == 51
    assert total.dtype == torch.float32


def test_a_loss_of_weight_zero_cannot_spoil_the_total() -> None:
    losses = {"a": torch.tensor(2.0), "b": torch.tensor(math.nan)}
    assert weighted_total(losses, {"a": 1.0, "b": 0.0}).item() == 2


def test_a_loss_without_a_weight_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no weight is set for \['b'\]; weights are set for \['a'\]"):
        weighted_total({"a": torch.tensor(1.0), "b": torch.tensor(1.0)}, {"a": 1.0})
    with pytest.raises(ValueError, match="nothing would train"):
        weighted_total({"a": torch.tensor(1.0)}, {"a": 0.0})


def test_a_step_moves_each_number_by_its_rate_and_tells_the_gradients_length() -> None:
    player = Pair({"fast": 3.0})
    turn = Turn(player, player, {"a": 1.0, "b": 1.0}, PLAIN, LOOP)
    _, total, length = turn.play(0, torch.tensor(1.0))
    # Adam without memory moves by the rate, whatever the gradient.
    assert (player.slow.item(), player.fast.item()) == (pytest.approx(0.9), pytest.approx(0.7))
    assert player.still.item() == 1
    assert (total.item(), length.item()) == (8, 5)
    assert turn.rate(0) == 0.1


def test_gradients_are_clipped_and_their_length_told_before() -> None:
    player = Pair()
    loop = LoopSettings(steps=1, batch_size=1, gradient_clip_norm=2.5)
    _, _, length = Turn(player, player, {"a": 1.0, "b": 1.0}, PLAIN, loop).play(0, torch.tensor(1.0))
    assert length.item() == 5
    assert player.slow.grad is not None
    assert player.slow.grad.item() == pytest.approx(1.5, abs=1e-5)


def test_the_rate_is_the_steps_whatever_was_loaded() -> None:
    settings = OptimiserSettings(
        learning_rate=0.1, betas=(0.0, 0.0), weight_decay=0.0, decay_every_steps=10, decay_factor=0.5
    )
    player = Pair({"fast": 3.0})
    turn = Turn(player, player, {"a": 1.0, "b": 1.0}, settings, LOOP)
    turn.play(25, torch.tensor(1.0))
    assert [group["lr"] for group in turn.optimiser.param_groups] == pytest.approx([0.025, 0.075])


def test_a_factor_for_no_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rate factors are set for \['gone'\]"):
        grouped({"a": nn.Parameter(torch.ones(1))}, {"gone": 2.0})


def test_a_player_without_anything_to_train_is_refused() -> None:
    player = Pair().requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match="Pair has no parameter that trains"):
        Turn(player, player, {"a": 1.0, "b": 1.0}, PLAIN, LOOP)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_forward_runs_in_the_precision_chosen_and_weights_stay_float32(
    precision: str, dtype: torch.dtype
) -> None:
    player = Product()
    before = player.layer.weight.detach().clone()
    loop = LoopSettings(steps=1, batch_size=1, precision=precision)  # pyright: ignore[reportArgumentType]
    Turn(player, player, {"a": 1.0}, PLAIN, loop).play(0, torch.ones(2, 4))
    assert player.seen == dtype
    assert player.layer.weight.dtype == torch.float32
    assert not torch.equal(player.layer.weight, before)


def test_frozen_gradients_of_an_earlier_step_do_not_pile_up() -> None:
    player = Pair()
    turn = Turn(player, player, {"a": 1.0, "b": 1.0}, PLAIN, LOOP)
    lengths = [turn.play(step, torch.tensor(1.0))[2].item() for step in range(2)]
    assert lengths == [5, 5]
