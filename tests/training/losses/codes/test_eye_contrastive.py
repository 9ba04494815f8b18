import math

import pytest
import torch

from training.losses.codes.eye_contrastive import eye_contrastive_loss


def test_eye_loss_is_the_logistic_loss() -> None:
    source = torch.Generator().manual_seed(2)
    f_1, f_2, f_a = torch.randn(3, 5, 6, generator=source, dtype=torch.float64)
    s_1 = (f_1 * f_a).sum(1) / (f_1.norm(dim=1) * f_a.norm(dim=1))
    s_2 = (f_2 * f_a).sum(1) / (f_2.norm(dim=1) * f_a.norm(dim=1))
    expected = -torch.nn.functional.logsigmoid((s_1 - s_2) / 0.1).mean()
    torch.testing.assert_close(eye_contrastive_loss(f_1, f_2, f_a, temperature=0.1), expected)


def test_eye_loss_prefers_the_first_frame() -> None:
    f_1, f_2 = torch.tensor([[2.0, 0.0]]), torch.tensor([[-3.0, 0.0]])
    assert eye_contrastive_loss(f_1, f_2, f_1).item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert eye_contrastive_loss(f_1, f_2, f_2).item() == pytest.approx(math.log(1 + math.exp(2)))
    assert eye_contrastive_loss(f_1, f_1, f_2).item() == pytest.approx(math.log(2))


def test_eye_loss_gradient_signs() -> None:
    f_a = torch.tensor([[1.0, 0.0]], requires_grad=True)
    f_1 = torch.tensor([[0.0, 1.0]], requires_grad=True)
    f_2 = torch.tensor([[0.0, -1.0]], requires_grad=True)
    eye_contrastive_loss(f_1, f_2, f_a).backward()
    torch.testing.assert_close(f_1.grad, torch.tensor([[-0.5, 0.0]]))
    torch.testing.assert_close(f_2.grad, torch.tensor([[0.5, 0.0]]))
    torch.testing.assert_close(f_a.grad, torch.tensor([[0.0, -1.0]]))
