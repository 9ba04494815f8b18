import math

import pytest
import torch

from training.losses.codes.consistency import gaze_consistency_loss, lip_consistency_loss

LOSSES = [lip_consistency_loss, gaze_consistency_loss]


def test_lip_consistency_is_exp_of_minus_cosine() -> None:
    lips = torch.tensor([[0.0, 2.0], [0.0, 2.0], [0.0, 2.0]])
    audio = torch.tensor([[0.0, 9.0], [1.0, 0.0], [0.0, -5.0]])  # S = 1, 0, −1
    expected = (math.exp(-1) + 1 + math.e) / 3
    assert lip_consistency_loss(lips, audio).item() == pytest.approx(expected)


def test_lip_consistency_of_zero_feature_has_finite_gradient() -> None:
    lips = torch.zeros(1, 3, requires_grad=True)
    loss = lip_consistency_loss(lips, torch.ones(1, 3))
    loss.backward()
    assert loss.item() == 1
    assert lips.grad is not None
    assert lips.grad.isfinite().all()


def test_gaze_consistency_sums_pitch_and_yaw() -> None:
    generated, target = torch.tensor([[0.5, -0.25], [0.0, 1.0]]), torch.tensor([[0.25, 0.25], [0.0, 0.0]])
    assert gaze_consistency_loss(generated, target).item() == (0.75 + 1.0) / 2


def test_consistency_gradient_reaches_generated_only() -> None:
    for loss in LOSSES:
        generated = torch.tensor([[1.0, -1.0]], requires_grad=True)
        target = torch.tensor([[0.5, 0.25]], requires_grad=True)
        loss(generated, target).backward()
        assert target.grad is None
        assert generated.grad is not None
        assert generated.grad.abs().max() > 0


def test_consistency_is_computed_in_float32() -> None:
    features = torch.ones(1, 2, dtype=torch.bfloat16)
    assert all(loss(features, features).dtype == torch.float32 for loss in LOSSES)
