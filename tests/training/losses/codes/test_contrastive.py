import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.losses.codes.contrastive import contrastive_loss, in_batch_contrastive_loss


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.parametrize("temperature", [1.0, 0.07])
def test_contrastive_loss_matches_the_formula(temperature: float) -> None:
    query, positive, negatives = draw(4, 6, seed=1), draw(4, 6, seed=2), draw(4, 3, 6, seed=3)
    losses: list[float] = []
    for q, p, n in zip(query.numpy(), positive.numpy(), negatives.numpy(), strict=True):
        of_positive = math.exp(cosine(q, p) / temperature)
        of_negatives = sum(math.exp(cosine(q, other) / temperature) for other in n)
        losses.append(-math.log(of_positive / (of_positive + of_negatives)))
    found = contrastive_loss(query, positive, negatives, temperature=temperature)
    assert found.item() == pytest.approx(sum(losses) / 4, rel=1e-9)


@pytest.mark.parametrize(("side", "sign"), [(1.0, -1), (-1.0, 1)])
def test_contrastive_loss_bounds(side: float, sign: int) -> None:
    query = draw(2, 5, seed=1)
    negatives = (-side * query)[:, None].expand(2, 7, 5)
    found = contrastive_loss(query, side * query, negatives, temperature=0.5)
    assert found.item() == pytest.approx(math.log(1 + 7 * math.exp(sign * 2 / 0.5)), rel=1e-9)


def test_contrastive_loss_of_equal_features() -> None:
    query = draw(2, 5, seed=1)
    alike = query[:, None].expand(2, 4, 5)
    assert contrastive_loss(query, query, alike, temperature=0.1).item() == pytest.approx(math.log(5))


def test_contrastive_loss_ignores_order_of_negatives() -> None:
    query, positive, negatives = draw(3, 6, seed=1), draw(3, 6, seed=2), draw(3, 4, 6, seed=3)
    found = contrastive_loss(query, positive, negatives, temperature=0.3)
    shuffled = contrastive_loss(query, positive, negatives[:, [2, 0, 3, 1]], temperature=0.3)
    anothers = contrastive_loss(query, positive, negatives[[1, 2, 0]], temperature=0.3)
    torch.testing.assert_close(shuffled, found)
    assert abs(anothers.item() - found.item()) > 1e-3


def test_contrastive_loss_ignores_norms() -> None:
    query, positive, negatives = draw(3, 6, seed=1), draw(3, 6, seed=2), draw(3, 4, 6, seed=3)
    found = contrastive_loss(query, positive, negatives, temperature=0.3)
    scaled = contrastive_loss(100 * query, 0.01 * positive, 7 * negatives, temperature=0.3)
    torch.testing.assert_close(scaled, found)


def test_contrastive_loss_gradient_signs() -> None:
    query = torch.tensor([[1.0, 0.0]], requires_grad=True)
    positive = torch.tensor([[0.0, 1.0]], requires_grad=True)
    negatives = torch.tensor([[[0.0, -1.0]]], requires_grad=True)
    contrastive_loss(query, positive, negatives, temperature=1.0).backward()
    # S is 0 to both, so each weighs one half; descent turns the positive to the query, the negative away.
    torch.testing.assert_close(positive.grad, torch.tensor([[-0.5, 0.0]]))
    torch.testing.assert_close(negatives.grad, torch.tensor([[[0.5, 0.0]]]))
    torch.testing.assert_close(query.grad, torch.tensor([[0.0, -1.0]]))


def test_contrastive_loss_without_negatives_is_zero() -> None:
    query = torch.ones(2, 3, requires_grad=True)
    loss = contrastive_loss(query, torch.ones(2, 3), torch.ones(2, 0, 3), temperature=0.1)
    loss.backward()
    assert loss.item() == 0
    assert query.grad is not None
    assert not query.grad.any()


def test_contrastive_loss_of_zero_features() -> None:
    query = torch.zeros(2, 3, requires_grad=True)
    loss = contrastive_loss(query, torch.ones(2, 3), torch.ones(2, 4, 3), temperature=0.1)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(5))
    assert query.grad is not None
    assert query.grad.isfinite().all()


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_contrastive_loss_is_float32(half: torch.dtype) -> None:
    parts = [(200 * draw(*shape, seed=5)).to(half) for shape in [(2, 512), (2, 512), (2, 8, 512)]]
    query, positive, negatives = parts
    found = contrastive_loss(query, positive, negatives, temperature=0.01)
    expected = contrastive_loss(query.double(), positive.double(), negatives.double(), temperature=0.01)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-4)


def test_contrastive_loss_with_small_temperature() -> None:
    query = draw(2, 5, seed=1).float()
    found = contrastive_loss(query, -query, query[:, None], temperature=1e-3)
    assert found.item() == pytest.approx(2000.0)


def test_in_batch_loss_equals_explicit_negatives() -> None:
    query, candidates = draw(5, 6, seed=1), draw(5, 6, seed=2)
    others = [[other for other in range(5) if other != row] for row in range(5)]
    expected = contrastive_loss(query, candidates, candidates[torch.tensor(others)], temperature=0.2)
    torch.testing.assert_close(in_batch_contrastive_loss(query, candidates, temperature=0.2), expected)


def test_in_batch_loss_of_one_row_and_zero_features() -> None:
    query = torch.zeros(1, 3, requires_grad=True)
    loss = in_batch_contrastive_loss(query, torch.ones(1, 3), temperature=0.1)
    loss.backward()
    assert loss.item() == 0
    assert query.grad is not None
    assert query.grad.isfinite().all()
    zeros = in_batch_contrastive_loss(torch.zeros(4, 3), torch.zeros(4, 3), temperature=0.1)
    assert zeros.item() == pytest.approx(math.log(4))


def test_in_batch_loss_is_exact_under_autocast() -> None:
    query, candidates = draw(6, 64, seed=1).float(), draw(6, 64, seed=2).float()
    expected = in_batch_contrastive_loss(query, candidates, temperature=0.01)
    with torch.autocast("cpu", torch.bfloat16):
        found = in_batch_contrastive_loss(query, candidates, temperature=0.01)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperature_must_be_positive(temperature: float) -> None:
    features = torch.ones(2, 3)
    with pytest.raises(ValueError, match="temperature must be > 0"):
        contrastive_loss(features, features, features[:, None], temperature=temperature)
    with pytest.raises(ValueError, match="temperature must be > 0"):
        in_batch_contrastive_loss(features, features, temperature=temperature)


def test_in_batch_loss_excludes_candidates() -> None:
    features = torch.eye(3)
    excluded = torch.tensor([[False, True, False], [True, False, False], [False, False, False]])
    loss = in_batch_contrastive_loss(features, features, temperature=1.0, excluded=excluded)
    # Two rows with one negative, one with two; S = 1 to its own, 0 to the others.
    expected = (2 * math.log(1 + 1 / math.e) + math.log(1 + 2 / math.e)) / 3
    assert loss.item() == pytest.approx(expected)
