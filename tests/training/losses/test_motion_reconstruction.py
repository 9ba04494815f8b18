import numpy as np
import torch

from training.losses.motion_reconstruction import motion_reconstruction_loss


def test_it_is_the_mean_length_of_both_differences() -> None:
    phi = torch.tensor([[3.0, 4.0], [0.0, 0.0]])  # lengths 5 and 0: mean 2.5
    psi = torch.tensor([[1.0, 2.0, 2.0], [0.0, 0.0, 7.0]])  # lengths 3 and 7: mean 5
    loss = motion_reconstruction_loss(phi, torch.zeros_like(phi), torch.zeros_like(psi), psi)
    assert loss.item() == 7.5


def test_it_agrees_with_numpy() -> None:
    source = np.random.default_rng(1)
    phi_t, phi_g = source.normal(size=(2, 5, 9))
    psi_t, psi_g = source.normal(size=(2, 5, 4))
    expected = np.mean(np.sqrt(((phi_t - phi_g) ** 2).sum(1)) + np.sqrt(((psi_t - psi_g) ** 2).sum(1)))
    found = motion_reconstruction_loss(*map(torch.from_numpy, (phi_t, phi_g, psi_t, psi_g)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_equal_features_give_zero_and_no_nan_in_the_gradient() -> None:
    phi, psi = torch.ones(1, 3), torch.ones(1, 2)
    generated = phi.clone().requires_grad_()
    loss = motion_reconstruction_loss(phi, generated, psi, psi)
    loss.backward()
    assert loss.item() == 0
    assert generated.grad is not None
    assert torch.equal(generated.grad, torch.zeros(1, 3))


def test_the_gradient_reaches_what_is_generated_alone() -> None:
    features = [torch.full((2, 3), value, requires_grad=True) for value in (1.0, 2.0, 5.0, 3.0)]
    phi_target, phi_generated, psi_target, psi_generated = features
    motion_reconstruction_loss(phi_target, phi_generated, psi_target, psi_generated).backward()
    assert phi_target.grad is None
    assert psi_target.grad is None
    # d(mean of two lengths)/d(each value) is the difference's direction, 1/sqrt(3), by half.
    expected = torch.full((2, 3), 0.5 / 3**0.5)
    torch.testing.assert_close(phi_generated.grad, expected)
    torch.testing.assert_close(psi_generated.grad, -expected)


def test_float16_features_do_not_overflow() -> None:
    far = torch.full((1, 4), 40_000.0, dtype=torch.float16)  # its square is beyond float16
    loss = motion_reconstruction_loss(far, -far, far, far)
    assert loss.item() == 160_000.0
