import numpy as np
import pytest
import torch

from training.losses.pictures.perceptual import EQUAL_LAYER_WEIGHTS, PC_AVS_LAYER_WEIGHTS, perceptual_loss


def maps(seed: int) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3 + layer, 16 >> layer, 16 >> layer, generator=source) for layer in range(5)]


@pytest.mark.parametrize("weights", [EQUAL_LAYER_WEIGHTS, PC_AVS_LAYER_WEIGHTS])
def test_perceptual_loss_values(weights: tuple[float, ...]) -> None:
    target, generated = maps(1), maps(2)
    expected = 0.0
    for weight, a, b in zip(weights, target, generated, strict=True):
        expected += weight * float(np.abs(a.double().numpy() - b.double().numpy()).sum()) / a.numel()
    np.testing.assert_allclose(perceptual_loss(target, generated, weights).item(), expected, rtol=1e-6)


def test_perceptual_loss_default_weights() -> None:
    target = [torch.zeros(1, 1, 2, 2), torch.zeros(1, 4, 1, 1)]
    generated = [torch.ones(1, 1, 2, 2), torch.full((1, 4, 1, 1), 3.0)]
    assert perceptual_loss(target, generated, (1.0, 1.0)).item() == 4.0
    assert perceptual_loss(target, generated, (0.5, 2.0)).item() == 6.5
    assert perceptual_loss(maps(1), maps(2)).item() == perceptual_loss(maps(1), maps(2), (1.0,) * 5).item()


def test_pc_avs_layer_weights() -> None:
    assert PC_AVS_LAYER_WEIGHTS == (0.03125, 0.0625, 0.125, 0.25, 1.0)


def test_perceptual_loss_of_equal_features() -> None:
    assert perceptual_loss(maps(1), maps(1)).item() == 0


def test_perceptual_loss_gradient_reaches_generated_only() -> None:
    target = [layer.requires_grad_() for layer in maps(1)]
    generated = [layer.requires_grad_() for layer in maps(2)]
    perceptual_loss(target, generated, PC_AVS_LAYER_WEIGHTS).backward()
    assert all(layer.grad is None for layer in target)
    for weight, layer in zip(PC_AVS_LAYER_WEIGHTS, generated, strict=True):
        assert layer.grad is not None
        torch.testing.assert_close(layer.grad.abs(), torch.full_like(layer, weight / layer.numel()))


def test_perceptual_loss_is_float32() -> None:
    target = [torch.zeros(1, 1, 40, 40, dtype=torch.bfloat16)]
    generated = [torch.full((1, 1, 40, 40), 3.0, dtype=torch.bfloat16)]
    loss = perceptual_loss(target, generated, (1 / 3,))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1.0, rel=1e-6)


def test_perceptual_loss_checks_counts() -> None:
    with pytest.raises(ValueError, match=r"\(5, 5, 4\)"):
        perceptual_loss(maps(1), maps(2), (1.0,) * 4)
    with pytest.raises(ValueError, match=r"\(5, 4, 5\)"):
        perceptual_loss(maps(1), maps(2)[:4])
    with pytest.raises(ValueError, match=r"\(0, 0, 0\)"):
        perceptual_loss([], [], ())
