import pytest
import torch

from tests.factories.stages import TOY
from tests.factories.toy_run import toy_parents
from training.engine.ema import Averages
from training.engine.ema_scope import Looking
from training.engine.stage_weights import collect
from training.stages.stage import Frozen, StageContext
from training.stages.stage1_motion import MotionSettings, MotionStage


def make() -> tuple[MotionStage, Averages]:
    """A stage in training, and averages whose every parameter is 1 more than the stage's."""
    stage = MotionStage(StageContext(TOY, toy_parents()), MotionSettings())
    stage.model.train()
    averages = Averages({name: stage.saved[name] for name in stage.averaged}, 0.9)
    with torch.no_grad():
        for network in averages.networks.values():
            for value in network.parameters():
                value.add_(1)
    return stage, averages


def modes(stage: MotionStage) -> dict[str, bool]:
    return {name: module.training for name, module in stage.model.named_modules()}


def test_while_looking_the_averages_are_there_and_nothing_trains() -> None:
    stage, averages = make()
    with Looking(stage, averages, torch.device("cpu")):
        shown = collect({name: stage.saved[name] for name in stage.averaged})
        torch.testing.assert_close(shown, collect(averages.networks), rtol=0, atol=0)
        assert not any(modes(stage).values())
        assert not torch.is_grad_enabled()
        first = torch.rand(3)
    with Looking(stage, averages, torch.device("cpu")):
        assert torch.equal(torch.rand(3), first)


def test_after_looking_all_is_as_before() -> None:
    stage, averages = make()
    before, parameters = collect(stage.saved), dict(stage.model.named_parameters())
    held, random, how = collect(averages.networks), torch.get_rng_state(), modes(stage)
    assert any(how.values())
    with Looking(stage, averages, torch.device("cpu")):
        torch.rand(5)
    torch.testing.assert_close(collect(stage.saved), before, rtol=0, atol=0)
    torch.testing.assert_close(collect(averages.networks), held, rtol=0, atol=0)
    assert all(value is parameters[name] for name, value in stage.model.named_parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert modes(stage) == how
    assert torch.is_grad_enabled()
    frozen = [module for module in stage.model.modules() if isinstance(module, Frozen)]
    assert frozen
    assert not any(module.training for part in frozen for module in part.modules())


def test_after_a_look_that_fails_all_is_as_before() -> None:
    stage, averages = make()
    before, random = collect(stage.saved), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="blind"), Looking(stage, averages, torch.device("cpu")):
        raise RuntimeError("blind")
    torch.testing.assert_close(collect(stage.saved), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled()
