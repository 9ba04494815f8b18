import math

import numpy as np
import pytest
import torch

from training.losses.codes.decorrelation import DimensionPairs, decorrelation_loss, in_window_mean


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def none_of(width: int) -> torch.Tensor:
    return torch.zeros(0, width)


def test_decorrelation_matches_numpy() -> None:
    batch_e, batch_a, past_e, past_a = (
        draw(4, 3, seed=1),
        draw(4, 5, seed=2),
        draw(9, 3, seed=3),
        draw(9, 5, seed=4),
    )
    past_a[:, 1] += 2 * past_e[:, 0]
    table = np.corrcoef(torch.cat([batch_e, past_e]).T.numpy(), torch.cat([batch_a, past_a]).T.numpy())
    expected = (table[:3, 3:] ** 2).mean()
    assert decorrelation_loss(batch_e, batch_a, past_e, past_a).item() == pytest.approx(expected, rel=1e-9)


def test_same_pairs_use_the_diagonal() -> None:
    batch_e, batch_a, past_e, past_a = (
        draw(4, 3, seed=1),
        draw(4, 3, seed=2),
        draw(9, 3, seed=3),
        draw(9, 3, seed=4),
    )
    table = np.corrcoef(torch.cat([batch_e, past_e]).T.numpy(), torch.cat([batch_a, past_a]).T.numpy())
    expected = (np.diag(table[:3, 3:]) ** 2).mean()
    found = decorrelation_loss(batch_e, batch_a, past_e, past_a, "same")
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_same_pairs_ignore_other_dimensions() -> None:
    audio = torch.tensor(
        [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
    )  # two dimensions, no correlation
    swapped = audio[:, [1, 0]]
    assert decorrelation_loss(swapped, audio, none_of(2), none_of(2), "same").item() == 0
    assert decorrelation_loss(swapped, audio, none_of(2), none_of(2), "all").item() == pytest.approx(0.5)


def test_decorrelation_bounds() -> None:
    audio = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    for pairs in ("all", "same"):
        copy = decorrelation_loss(5 - 3 * audio, audio, none_of(1), none_of(1), pairs)
        assert copy.item() == pytest.approx(1.0)
    orthogonal = torch.tensor([[1.0], [-1.0], [-1.0], [1.0]])
    assert decorrelation_loss(orthogonal, audio, none_of(1), none_of(1)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("pairs", ["all", "same"])
def test_decorrelation_ignores_shift_and_scale(pairs: DimensionPairs) -> None:
    batch_e, batch_a, past_e, past_a = (
        draw(4, 3, seed=1),
        draw(4, 3, seed=2),
        draw(9, 3, seed=3),
        draw(9, 3, seed=4),
    )
    scale, shift = torch.tensor([1e-3, -7.0, 50.0]), torch.tensor([0.1, 3.0, -20.0])
    found = decorrelation_loss(batch_e * scale + shift, batch_a, past_e * scale + shift, past_a, pairs)
    torch.testing.assert_close(found, decorrelation_loss(batch_e, batch_a, past_e, past_a, pairs))


def test_decorrelation_needs_aligned_past() -> None:
    batch_e, batch_a, past_e, past_a = (
        draw(4, 3, seed=1),
        draw(4, 5, seed=2),
        draw(9, 3, seed=3),
        draw(9, 5, seed=4),
    )
    found = decorrelation_loss(batch_e, batch_a, past_e, past_a)
    turned = decorrelation_loss(batch_e, batch_a, past_e.flip(0), past_a.flip(0))
    torn = decorrelation_loss(batch_e, batch_a, past_e.flip(0), past_a)
    torch.testing.assert_close(turned, found)
    assert abs(torn.item() - found.item()) > 1e-3


def test_decorrelation_gradient_reaches_expression_only() -> None:
    parts = [draw(4, 3, seed=1), draw(4, 5, seed=2), draw(9, 3, seed=3), draw(9, 5, seed=4)]
    expression, audio, past_expression, past_audio = (part.requires_grad_() for part in parts)
    decorrelation_loss(expression, audio, past_expression, past_audio).backward()
    assert expression.grad is not None
    assert expression.grad.abs().min() > 0
    assert audio.grad is None
    assert past_expression.grad is None
    assert past_audio.grad is None


@pytest.mark.parametrize("pairs", ["all", "same"])
def test_decorrelation_gradient_matches_finite_differences(pairs: DimensionPairs) -> None:
    audio, past_e, past_a = draw(3, 2, seed=2), draw(5, 2, seed=3), draw(5, 2, seed=4)
    expression = draw(3, 2, seed=1).requires_grad_()
    alone = draw(5, 2, seed=5).requires_grad_()

    def loss(batch: torch.Tensor) -> torch.Tensor:
        return decorrelation_loss(batch, past_a, none_of(2), none_of(2), pairs)

    assert torch.autograd.gradcheck(loss, alone)
    # With N = 5 past samples and B = 3, (B + N) / B times the derivative.
    (found,) = torch.autograd.grad(decorrelation_loss(expression, audio, past_e, past_a, pairs), expression)
    for place in np.ndindex(3, 2):
        step = torch.zeros(3, 2, dtype=torch.float64)
        step[place] = 1e-6
        below, above = (
            decorrelation_loss(expression.detach() + sign * step, audio, past_e, past_a, pairs).item()
            for sign in (-1, 1)
        )
        assert found[place].item() == pytest.approx(8 / 3 * (above - below) / 2e-6, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("pairs", ["all", "same"])
def test_decorrelation_gradient_does_not_fall_with_the_banks(pairs: DimensionPairs) -> None:
    audio = draw(8, 3, seed=1)
    expression = (audio @ draw(3, 3, seed=2) + draw(8, 3, seed=3)).requires_grad_()

    def value_and_gradient(repeats: int) -> tuple[float, torch.Tensor]:
        past_e, past_a = expression.detach().repeat(repeats, 1), audio.repeat(repeats, 1)
        loss = decorrelation_loss(expression, audio, past_e, past_a, pairs)
        return loss.item(), torch.autograd.grad(loss, expression)[0]

    # The banks repeat the batch, so every estimate has the same statistics.
    alone, without_banks = value_and_gradient(0)
    for repeats in (1, 8, 64):
        value, gradient = value_and_gradient(repeats)
        assert value == pytest.approx(alone, rel=1e-9)
        torch.testing.assert_close(gradient, without_banks)


@pytest.mark.parametrize(("pairs", "count"), [("all", 9), ("same", 3)])
def test_sum_is_over_the_pairs(pairs: DimensionPairs, count: int) -> None:
    parts = (draw(4, 3, seed=1), draw(4, 3, seed=2), draw(9, 3, seed=3), draw(9, 3, seed=4))
    total = decorrelation_loss(*parts, pairs, reduction="sum")
    torch.testing.assert_close(total, count * decorrelation_loss(*parts, pairs))


def test_decorrelation_descent_removes_the_audio() -> None:
    audio = draw(64, 2, seed=1)
    expression = (audio @ draw(2, 3, seed=2) + 0.5 * draw(64, 3, seed=3)).requires_grad_()
    losses: list[float] = []
    for _ in range(50):
        loss = decorrelation_loss(expression, audio, none_of(3), none_of(2))
        losses.append(loss.item())
        (gradient,) = torch.autograd.grad(loss, expression)
        with torch.no_grad():
            expression -= 20 * gradient
    assert losses[0] > 0.2
    assert losses[-1] < 0.01


@pytest.mark.parametrize("constant", [0.0, 0.1, 1234.567])
def test_constant_dimension_has_zero_correlation(constant: float) -> None:
    expression = draw(4, 2, seed=1).float()
    expression[:, 0] = constant
    past_e, audio, past_a = (
        draw(96, 2, seed=2).float(),
        draw(4, 1, seed=3).float(),
        draw(96, 1, seed=4).float(),
    )
    past_e[:, 0] = constant
    expression.requires_grad_()
    loss = decorrelation_loss(expression, audio, past_e, past_a)
    loss.backward()
    alone = decorrelation_loss(expression[:, 1:], audio, past_e[:, 1:], past_a)
    torch.testing.assert_close(loss, alone / 2)
    assert expression.grad is not None
    assert not expression.grad[:, 0].any()
    assert expression.grad[:, 1].abs().min() > 0


def test_constant_audio_gives_no_nan() -> None:
    expression = draw(4, 2, seed=1).requires_grad_()
    loss = decorrelation_loss(expression, draw(4, 3, seed=2) * 0, draw(6, 2, seed=3), draw(6, 3, seed=4) * 0)
    loss.backward()
    assert loss.item() == 0
    assert expression.grad is not None
    assert not expression.grad.any()


def test_single_sample_needs_the_past() -> None:
    expression = torch.tensor([[0.3, 2.0]], requires_grad=True)
    loss = decorrelation_loss(expression, torch.tensor([[5.0]]), none_of(2), none_of(1))
    loss.backward()
    assert loss.item() == 0
    assert expression.grad is not None
    assert not expression.grad.any()
    past_e, past_a = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[4.0], [0.0]])
    assert decorrelation_loss(expression, torch.tensor([[5.0]]), past_e, past_a).item() > 0


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_decorrelation_is_float32(half: torch.dtype) -> None:
    expression, audio = (300 * draw(32, 4, seed=1)).to(half), (300 * draw(32, 6, seed=2)).to(half)
    past_e, past_a = 300 * draw(64, 4, seed=3).float(), 300 * draw(64, 6, seed=4).float()
    expected = decorrelation_loss(expression.double(), audio.double(), past_e.double(), past_a.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = decorrelation_loss(expression, audio, past_e, past_a)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_decorrelation_floor_of_independent_samples() -> None:
    found = decorrelation_loss(
        draw(50, 30, seed=1), draw(50, 40, seed=2), draw(51, 30, seed=3), draw(51, 40, seed=4)
    )
    # 1200 coefficients, each square of mean 1/100 and deviation about sqrt(2)/100.
    assert found.item() == pytest.approx(0.01, abs=5 * math.sqrt(2) / 100 / math.sqrt(1200) * 2)


def test_same_pairs_need_equal_widths() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        decorrelation_loss(draw(4, 2, seed=1), draw(4, 3, seed=2), none_of(2), none_of(3), "same")


def test_in_window_mean_averages_each_window() -> None:
    features = torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[-1.0, 0.0], [1.0, 1.0]]])
    assert torch.equal(in_window_mean(features), torch.tensor([[2.0, 4.0], [0.0, 0.5]]))


def test_in_window_mean_of_one_frame() -> None:
    features = torch.randn(3, 1, 4)
    assert torch.equal(in_window_mean(features), features[:, 0])


def test_in_window_mean_gradient_reaches_all_frames() -> None:
    features = torch.randn(2, 4, 3, requires_grad=True)
    in_window_mean(features).sum().backward()
    assert features.grad is not None
    assert torch.equal(features.grad, torch.full((2, 4, 3), 0.25))


def test_in_window_mean_is_computed_in_float32() -> None:
    features = torch.full((1, 5, 2), 60_000.0, dtype=torch.float16)
    mean = in_window_mean(features)
    assert mean.dtype == torch.float32
    assert torch.equal(mean, features[:, 0].float())


def test_in_window_mean_rejects_empty_windows() -> None:
    with pytest.raises(ValueError, match=r"\[2, 0, 3\]"):
        in_window_mean(torch.zeros(2, 0, 3))
