import pytest
import torch
from torch.nn import functional

from models.discriminator import MultiScaleDiscriminator
from models.presets import TINY
from training.losses.pictures.r1_penalty import r1_penalty


def test_r1_of_a_linear_score() -> None:
    weight = torch.tensor([1.0, -2.0, 3.0]).reshape(1, 3, 1, 1).requires_grad_()
    image = torch.randn(5, 3, 1, 1, requires_grad=True)
    penalty = r1_penalty([functional.conv2d(image, weight)], image)
    penalty.backward()
    assert penalty.item() == pytest.approx(14.0)
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad.flatten(), torch.tensor([2.0, -4.0, 6.0]))


def test_r1_averages_patches_and_scales() -> None:
    image = torch.randn(2, 1, 2, 2, requires_grad=True)
    # The mean over four patches of 8 I has the gradient 2 at every pixel, the coarse 6 I[0, 0] has 6 at one:
    # half of each is 1 + 3 at the first pixel and 1 at the three others.
    assert r1_penalty([8 * image, 6 * image[:, :, :1, :1]], image).item() == pytest.approx(16 + 3)


def test_r1_is_per_image() -> None:
    image = torch.tensor([1.0, 2.0, 4.0]).reshape(3, 1, 1, 1).requires_grad_()
    assert r1_penalty([image**2], image).item() == pytest.approx((2**2 + 4**2 + 8**2) / 3)


def test_r1_of_a_constant_score_is_zero() -> None:
    image = torch.randn(2, 1, 3, 3, requires_grad=True)
    assert r1_penalty([0 * image], image).item() == 0


def test_r1_matches_finite_differences() -> None:
    torch.manual_seed(3)
    discriminator = MultiScaleDiscriminator(TINY.discriminator).double().eval()
    image = torch.rand(1, 3, 16, 16, dtype=torch.float64) * 2 - 1

    def scores(images: torch.Tensor) -> torch.Tensor:
        return torch.stack([output.score.mean((1, 2, 3)) for output in discriminator(images)]).mean(0)

    steps = 1e-6 * torch.eye(image.numel(), dtype=torch.float64).reshape(-1, 3, 16, 16)
    with torch.no_grad():
        slopes = (scores(image + steps) - scores(image - steps)) / 2e-6
    image.requires_grad_()
    penalty = r1_penalty([output.score for output in discriminator(image)], image)
    torch.testing.assert_close(penalty.detach(), slopes.square().sum(), rtol=1e-5, atol=0)
    penalty.backward()
    weights = discriminator.get_parameter("scales.1.score.weight")
    assert weights.grad is not None
    assert weights.grad.abs().max() > 0


def test_r1_needs_images_with_gradients() -> None:
    image = torch.randn(1, 1, 2, 2)
    with pytest.raises(ValueError, match="require gradients"):
        r1_penalty([image], image)
    with pytest.raises(ValueError, match="no scale"):
        r1_penalty([], image.requires_grad_())
