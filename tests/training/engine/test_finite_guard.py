import json
import math
from pathlib import Path

import pytest
import torch

from tests.factories.stages import row_facts
from training.data.batches import Batch
from training.engine.finite_guard import FiniteGuard, NotFiniteError
from training.engine.settings import Cadence

FINE, LOSSES = [torch.tensor(1.0), torch.tensor(2.0)], {"vgg": torch.tensor(1.0)}


def batch(number: int) -> Batch:
    return Batch(row_facts(2, keys=[f"a{number}", f"b{number}"], frames=[number, 1]))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stops_and_names_the_batches_since_the_last_look(
    tmp_path: Path, value: float
) -> None:
    guard = FiniteGuard("stage", tmp_path, 3, Cadence(finite_check_every_steps=2))
    for step in range(3):
        guard.check(step, batch(step), FINE, LOSSES, now=False)
    with pytest.raises(NotFiniteError, match=r"stage: step 3 is not finite \(\{'vgg': .*rank-3-not_finite"):
        guard.check(3, batch(3), [FINE[0], torch.tensor(value)], {"vgg": torch.tensor(value)}, now=False)
    told = json.loads((tmp_path / "rank-3-not_finite.json").read_text())
    assert told["step"] == 3
    assert told["losses"] == {"vgg": str(value)}
    assert told["batches"] == [
        {"step": step, "keys": [f"a{step}", f"b{step}"], "frames": [step, 1], "seeds": [1000, 1001]}
        for step in (2, 3)
    ]


def test_between_two_looks_it_waits_unless_it_is_told_not_to(tmp_path: Path) -> None:
    guard = FiniteGuard("stage", tmp_path, 0, Cadence(finite_check_every_steps=10))
    wrong = [torch.tensor(math.nan)]
    guard.check(0, batch(0), wrong, LOSSES, now=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFiniteError):
        guard.check(1, batch(1), wrong, LOSSES, now=True)
