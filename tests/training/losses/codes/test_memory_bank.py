from pathlib import Path

import pytest
import torch

from training.losses.codes.decorrelation import decorrelation_loss
from training.losses.codes.memory_bank import MemoryBank


def numbered(*numbers: int) -> torch.Tensor:
    """One feature of width 2 per number."""
    return torch.tensor([[float(number), -float(number)] for number in numbers]).reshape(-1, 2)


def held(bank: MemoryBank) -> set[int]:
    return {int(row[0]) for row in bank.latest()}


def test_bank_starts_empty() -> None:
    bank = MemoryBank(5, 2)
    assert bank.latest().shape == (0, 2)
    bank.push(numbered(1, 2))
    bank.push(numbered(3))
    assert len(bank) == 3
    assert torch.equal(bank.latest(), numbered(1, 2, 3))


def test_bank_overwrites_the_oldest() -> None:
    bank = MemoryBank(5, 2)
    bank.push(numbered(1, 2, 3, 4))
    bank.push(numbered(5, 6, 7))
    assert torch.equal(bank.latest(), numbered(6, 7, 3, 4, 5))
    bank.push(numbered(8, 9, 10))
    assert torch.equal(bank.latest(), numbered(6, 7, 8, 9, 10))
    bank.push(numbered(11))
    assert held(bank) == {7, 8, 9, 10, 11}
    assert len(bank) == 5


@pytest.mark.parametrize("batch", range(9))
def test_bank_holds_the_latest_features(batch: int) -> None:
    bank = MemoryBank(4, 2)
    pushed: list[int] = []
    for step in range(7):
        numbers = range(100 * step, 100 * step + batch)
        bank.push(numbered(*numbers))
        pushed += numbers
        assert held(bank) == set(pushed[-4:])
        assert len(bank) == len(pushed[-4:])


def test_banks_stay_aligned() -> None:
    first, second = MemoryBank(5, 2), MemoryBank(5, 1)
    for step in range(6):
        features = numbered(3 * step, 3 * step + 1, 3 * step + 2)
        first.push(features)
        second.push(features[:, :1])
        assert torch.equal(first.latest()[:, :1], second.latest())


def test_bank_holds_detached_copies() -> None:
    bank = MemoryBank(3, 2)
    features = numbered(1, 2).requires_grad_()
    bank.push(features * 2)
    latest = bank.latest()
    assert not latest.requires_grad
    with torch.no_grad():
        features.zero_()
    latest.zero_()
    assert torch.equal(bank.latest(), numbered(2, 4))


def test_push_before_backward_keeps_gradients() -> None:
    expressions, sounds = MemoryBank(6, 3), MemoryBank(6, 2)
    expressions.push(torch.randn(6, 3))
    sounds.push(torch.randn(6, 2))
    audio = torch.randn(4, 2)
    expression = torch.randn(4, 3, requires_grad=True)
    gradients: list[torch.Tensor] = []
    past = expressions.latest(), sounds.latest()
    for push_before_backward in (False, True):
        loss = decorrelation_loss(expression, audio, *past)
        if push_before_backward:
            expressions.push(expression)
            sounds.push(audio)
        gradients += torch.autograd.grad(loss, expression)
    assert torch.equal(*gradients)
    assert not expressions.latest().requires_grad


def test_bank_holds_float32() -> None:
    bank = MemoryBank(3, 2)
    features = torch.tensor([[0.1, 3e4]], dtype=torch.bfloat16)
    bank.push(features)
    assert bank.latest().dtype == torch.float32
    assert torch.equal(bank.latest(), features.float())


@pytest.mark.parametrize("steps_before", [0, 1, 2, 5])
def test_resumed_bank_continues_bit_for_bit(tmp_path: Path, steps_before: int) -> None:
    source = torch.Generator().manual_seed(4)
    batches = [torch.randn(3, 2, generator=source) for _ in range(9)]
    undisturbed = MemoryBank(7, 2)
    for batch in batches[:steps_before]:
        undisturbed.push(batch)
    torch.save(undisturbed.state_dict(), tmp_path / "bank.pt")
    resumed = MemoryBank(7, 2)
    resumed.push(torch.randn(4, 2))  # what it held before must not show through
    resumed.load_state_dict(torch.load(tmp_path / "bank.pt", weights_only=True))
    assert torch.equal(resumed.latest(), undisturbed.latest())
    for batch in batches[steps_before:]:
        undisturbed.push(batch)
        resumed.push(batch)
        assert torch.equal(resumed.latest(), undisturbed.latest())


def test_saved_state_is_a_copy() -> None:
    bank = MemoryBank(3, 2)
    bank.push(numbered(1))
    state = bank.state_dict()
    bank.push(numbered(2, 3))
    assert state["held"].item() == state["next_row"].item() == 1
    assert torch.equal(state["rows"], numbered(1, 0, 0))


@pytest.mark.parametrize(("name", "value"), [("next_row", 3), ("held", 4), ("held", -1), ("next_row", 0)])
def test_impossible_counters_are_rejected(name: str, value: int) -> None:
    bank = MemoryBank(3, 2)
    bank.push(numbered(1, 2))
    with pytest.raises(ValueError, match=rf"{name} {value}"):
        bank.load_state_dict({**bank.state_dict(), name: torch.tensor(value)})
    assert torch.equal(bank.latest(), numbered(1, 2))


def test_state_of_another_bank_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"\[4, 2\] do not fit a bank of \[3, 2\]"):
        MemoryBank(3, 2).load_state_dict(MemoryBank(4, 2).state_dict())
    with pytest.raises(ValueError, match=r"\['rows'\]"):
        MemoryBank(3, 2).load_state_dict({"rows": torch.zeros(3, 2)})


def test_bank_checks_width_and_capacity() -> None:
    with pytest.raises(ValueError, match=r"\[B, 2\], got \[1, 3\]"):
        MemoryBank(3, 2).push(torch.zeros(1, 3))
    with pytest.raises(ValueError, match=">= 1, got 0 and 2"):
        MemoryBank(0, 2)
