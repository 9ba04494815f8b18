import pytest
import torch
from torch import nn

from training.engine.ema import Averages


def follow(decay: float, values: list[float], first_step: int = 0) -> float:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    averages = Averages({"net": network}, decay)
    for step, value in enumerate(values, first_step):
        nn.init.constant_(network.weight, value)
        averages.update(step)
    return next(averages.networks["net"].parameters()).item()


def test_the_decay_warms_up_by_the_step() -> None:
    # Decays 1/10, 2/11, 3/12: 1 -> .1 + .9 x 2 = 1.9 -> 1.9 x 2/11 + 3 x 9/11 -> x 1/4 + 5 x 3/4.
    second = 1.9 * 2 / 11 + 3 * 9 / 11
    assert follow(0.999, [2, 3, 5]) == pytest.approx(second / 4 + 5 * 3 / 4, rel=1e-6)


def test_the_decay_never_passes_its_bound() -> None:
    assert follow(0.5, [2, 3], first_step=1000) == pytest.approx((1 / 2 + 2 / 2) / 2 + 3 / 2, rel=1e-6)
    assert follow(0.0, [2, 3]) == 3


def test_buffers_are_taken_over_and_nothing_of_the_average_trains() -> None:
    network = nn.BatchNorm1d(1)
    averages = Averages({"net": network}, 0.9)
    network(torch.tensor([[2.0], [4.0]]))
    averages.update(0)
    average = averages.networks["net"]
    assert isinstance(average, nn.BatchNorm1d)
    assert average.running_mean is not None
    assert average.running_mean.item() == pytest.approx(0.3)
    assert average.num_batches_tracked is not None
    assert average.num_batches_tracked.item() == 1
    assert not average.training
    assert not any(value.requires_grad for value in average.parameters())
    assert all(value.requires_grad for value in network.parameters())
