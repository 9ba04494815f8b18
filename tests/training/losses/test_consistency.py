import math

import pytest
import torch

from training.losses.consistency import consistency_loss, gaze_consistency_loss, lip_consistency_loss


def test_lips_cost_the_exponential_of_minus_the_cosine() -> None:
    lips = torch.tensor([[0.0, 2.0], [0.0, 2.0], [0.0, 2.0]])
    sound = torch.tensor([[0.0, 9.0], [1.0, 0.0], [0.0, -5.0]])  # S = 1, 0, −1
    expected = (math.exp(-1) + 1 + math.e) / 3
    assert lip_consistency_loss(lips, sound).item() == pytest.approx(expected)


def test_lips_without_length_cost_one_and_get_a_finite_gradient() -> None:
    lips = torch.zeros(1, 3, requires_grad=True)
    loss = lip_consistency_loss(lips, torch.ones(1, 3))
    loss.backward()
    assert loss.item() == 1
    assert lips.grad is not None
    assert lips.grad.isfinite().all()


def test_gaze_costs_pitch_and_yaw_together() -> None:
    generated, target = torch.tensor([[0.5, -0.25], [0.0, 1.0]]), torch.tensor([[0.25, 0.25], [0.0, 0.0]])
    assert gaze_consistency_loss(generated, target).item() == (0.75 + 1.0) / 2


def features(*, requires_grad: bool = False) -> dict[str, torch.Tensor]:
    """Lips across the sound (1), gaze off by 2, φ by 5 and ψ by 3: 11 in all."""
    given = {
        "lip_generated": torch.tensor([[0.0, 2.0]]),
        "audio_target": torch.tensor([[1.0, 0.0]]),
        "gaze_generated": torch.tensor([[1.0, -1.0]]),
        "gaze_target": torch.tensor([[0.0, 0.0]]),
        "phi_generated": torch.tensor([[3.0, 4.0]]),
        "phi_target": torch.tensor([[0.0, 0.0]]),
        "psi_generated": torch.tensor([[0.0, 3.0]]),
        "psi_target": torch.tensor([[0.0, 0.0]]),
    }
    return {name: tensor.requires_grad_(requires_grad) for name, tensor in given.items()}


def test_consistency_is_the_sum_of_lips_gaze_and_motion() -> None:
    assert consistency_loss(**features()).item() == 1 + 2 + 5 + 3


def test_a_frame_that_does_all_it_was_told_costs_one_over_e() -> None:
    given = features()
    perfect = {name: given[name.replace("generated", "target")] for name in given if name != "lip_generated"}
    loss = consistency_loss(lip_generated=3 * given["audio_target"], **perfect)
    assert loss.item() == pytest.approx(1 / math.e)


def test_the_gradient_reaches_what_is_generated_alone() -> None:
    given = features(requires_grad=True)
    consistency_loss(**given).backward()
    for name, tensor in given.items():
        if name.endswith("target"):
            assert tensor.grad is None, name
        else:
            assert tensor.grad is not None, name
            assert tensor.grad.abs().max() > 0, name


def test_half_precision_is_computed_in_float32() -> None:
    given = {name: tensor.to(torch.bfloat16) for name, tensor in features().items()}
    assert consistency_loss(**given).dtype == torch.float32
