import pytest
import torch
from torch import nn

from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import toy_parents
from training.engine.ema import EMA, ema_scope
from training.engine.stage_weights import collect
from training.stages.stage import FrozenNetwork, StageContext
from training.stages.stage1_motion import MotionStage, MotionStageSettings


def final_average(decay: float, values: list[float], first_step: int = 0) -> float:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    ema = EMA({"net": network}, decay)
    for step, value in enumerate(values, first_step):
        nn.init.constant_(network.weight, value)
        ema.update(step)
    return next(ema.networks["net"].parameters()).item()


def test_ema_decay_warms_up() -> None:
    # Decays 1/10, 2/11, 3/12: 1 -> .1 + .9 x 2 = 1.9 -> 1.9 x 2/11 + 3 x 9/11 -> x 1/4 + 5 x 3/4.
    second = 1.9 * 2 / 11 + 3 * 9 / 11
    assert final_average(0.999, [2, 3, 5]) == pytest.approx(second / 4 + 5 * 3 / 4, rel=1e-6)


def test_ema_decay_stays_below_its_maximum() -> None:
    assert final_average(0.5, [2, 3], first_step=1000) == pytest.approx((1 / 2 + 2 / 2) / 2 + 3 / 2, rel=1e-6)
    assert final_average(0.0, [2, 3]) == 3


def test_ema_copies_buffers_and_does_not_train() -> None:
    network = nn.BatchNorm1d(1)
    ema = EMA({"net": network}, 0.9)
    network(torch.tensor([[2.0], [4.0]]))
    ema.update(0)
    average = ema.networks["net"]
    assert isinstance(average, nn.BatchNorm1d)
    assert average.running_mean is not None
    assert average.running_mean.item() == pytest.approx(0.3)
    assert average.num_batches_tracked is not None
    assert average.num_batches_tracked.item() == 1
    assert not average.training
    assert not any(value.requires_grad for value in average.parameters())
    assert all(value.requires_grad for value in network.parameters())


def make_stage() -> tuple[MotionStage, EMA]:
    """A stage in training, and averages whose parameters are those of the stage plus 1."""
    stage = MotionStage(StageContext(TOY, toy_parents()), MotionStageSettings())
    stage.model.train()
    ema = EMA({name: stage.saved[name] for name in stage.averaged}, 0.9)
    with torch.no_grad():
        for network in ema.networks.values():
            for value in network.parameters():
                value.add_(1)
    return stage, ema


def training_modes(stage: MotionStage) -> dict[str, bool]:
    return {name: module.training for name, module in stage.model.named_modules()}


def test_ema_scope_loads_averages_in_evaluation_mode() -> None:
    stage, ema = make_stage()
    with ema_scope(stage, ema, torch.device("cpu")):
        loaded = collect({name: stage.saved[name] for name in stage.averaged})
        torch.testing.assert_close(loaded, collect(ema.networks), rtol=0, atol=0)
        assert not any(training_modes(stage).values())
        assert not torch.is_grad_enabled()
        first = torch.rand(3)
    with ema_scope(stage, ema, torch.device("cpu")):
        assert torch.equal(torch.rand(3), first)


def test_ema_scope_restores_weights_modes_and_random_state() -> None:
    stage, ema = make_stage()
    before, parameters = collect(stage.saved), dict(stage.model.named_parameters())
    averages, random, modes = collect(ema.networks), torch.get_rng_state(), training_modes(stage)
    assert any(modes.values())
    with ema_scope(stage, ema, torch.device("cpu")):
        torch.rand(5)
    torch.testing.assert_close(collect(stage.saved), before, rtol=0, atol=0)
    torch.testing.assert_close(collect(ema.networks), averages, rtol=0, atol=0)
    assert all(value is parameters[name] for name, value in stage.model.named_parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert training_modes(stage) == modes
    assert torch.is_grad_enabled()
    frozen = [module for module in stage.model.modules() if isinstance(module, FrozenNetwork)]
    assert frozen
    assert not any(module.training for part in frozen for module in part.modules())


def test_ema_scope_restores_after_an_exception() -> None:
    stage, ema = make_stage()
    before, random = collect(stage.saved), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="inside"), ema_scope(stage, ema, torch.device("cpu")):
        raise RuntimeError("inside")
    torch.testing.assert_close(collect(stage.saved), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled()
