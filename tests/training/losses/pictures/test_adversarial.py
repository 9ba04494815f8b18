import pytest
import torch

from training.losses.pictures.adversarial import discriminator_hinge_loss, generator_hinge_loss


def scores(*values: float) -> torch.Tensor:
    """One image's map of scores, a row of patches."""
    return torch.tensor(values).reshape(1, 1, 1, -1)


def test_discriminator_loss_values() -> None:
    real = [scores(2.0, 0.5, -1.0, 1.0), scores(0.0)]  # hinges 0, .5, 2, 0: mean .625; 1
    generated = [scores(-2.0, 0.0, 1.0, -1.0), scores(3.0)]  # hinges 0, 1, 2, 0: mean .75; 4
    assert discriminator_hinge_loss(real, generated).item() == (0.625 + 1) / 2 + (0.75 + 4) / 2


def test_generator_loss_values() -> None:
    assert generator_hinge_loss([scores(2.0, -1.0), scores(4.0)]).item() == -(0.5 + 4.0) / 2


def test_discriminator_loss_is_zero_beyond_the_margin() -> None:
    real, generated = scores(1.5, 7.0).requires_grad_(), scores(-1.5, -7.0).requires_grad_()
    loss = discriminator_hinge_loss([real], [generated])
    loss.backward()
    assert loss.item() == 0
    for given in (real, generated):
        assert given.grad is not None
        assert not given.grad.any()


def test_discriminator_loss_of_zero_scores_is_two() -> None:
    assert discriminator_hinge_loss([scores(0.0, 0.0)], [scores(0.0)]).item() == 2


def test_discriminator_loss_gradient_signs() -> None:
    real, generated = scores(0.5, 0.0).requires_grad_(), scores(0.5, 0.0).requires_grad_()
    discriminator_hinge_loss([real], [generated]).backward()
    torch.testing.assert_close(real.grad, scores(-0.5, -0.5))
    torch.testing.assert_close(generated.grad, scores(0.5, 0.5))


def test_generator_loss_gradient() -> None:
    generated = scores(-5.0, 0.0, 5.0, 9.0).requires_grad_()
    generator_hinge_loss([generated]).backward()
    torch.testing.assert_close(generated.grad, torch.full((1, 1, 1, 4), -0.25))


def test_adversarial_losses_are_float32() -> None:
    large = torch.full((2, 1, 4, 4), 60_000.0, dtype=torch.float16)
    assert generator_hinge_loss([large]).item() == -float(large[0, 0, 0, 0])
    assert discriminator_hinge_loss([large], [large]).item() == 1 + float(large[0, 0, 0, 0])


def test_adversarial_losses_check_scales() -> None:
    with pytest.raises(ValueError, match="2 scales of real scores but 1"):
        discriminator_hinge_loss([scores(0.0), scores(0.0)], [scores(0.0)])
    with pytest.raises(ValueError, match="no scale"):
        discriminator_hinge_loss([], [])
    with pytest.raises(ValueError, match="no scale"):
        generator_hinge_loss([])
