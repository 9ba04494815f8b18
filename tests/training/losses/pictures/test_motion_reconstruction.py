import numpy as np
import torch

from training.losses.pictures.motion_reconstruction import feature_distance


def test_feature_distance_is_the_mean_euclidean_norm() -> None:
    target = torch.tensor([[3.0, 4.0], [0.0, 0.0]])  # norms 5 and 0
    assert feature_distance(target, torch.zeros_like(target)).item() == 2.5


def test_feature_distance_agrees_with_numpy() -> None:
    target, generated = np.random.default_rng(1).normal(size=(2, 5, 9))
    expected = np.mean(np.sqrt(((target - generated) ** 2).sum(1)))
    distance = feature_distance(torch.from_numpy(target), torch.from_numpy(generated))
    np.testing.assert_allclose(distance.numpy(), expected, rtol=1e-12)


def test_feature_distance_of_equal_features_has_zero_gradient() -> None:
    target = torch.ones(1, 3)
    generated = target.clone().requires_grad_()
    loss = feature_distance(target, generated)
    loss.backward()
    assert loss.item() == 0
    assert generated.grad is not None
    assert torch.equal(generated.grad, torch.zeros(1, 3))


def test_feature_distance_gradient_reaches_generated_only() -> None:
    target = torch.full((2, 3), 1.0, requires_grad=True)
    generated = torch.full((2, 3), 2.0, requires_grad=True)
    feature_distance(target, generated).backward()
    assert target.grad is None
    # The derivative of a norm is the unit vector of the difference, 1/sqrt(3) each; half of it for two rows.
    torch.testing.assert_close(generated.grad, torch.full((2, 3), 0.5 / 3**0.5))


def test_feature_distance_of_float16_does_not_overflow() -> None:
    far = torch.full((1, 4), 40_000.0, dtype=torch.float16)  # its square overflows float16
    assert feature_distance(far, -far).item() == 160_000.0
