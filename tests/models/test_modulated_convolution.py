import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import signal
from torch import Tensor

from models.modulated_convolution import (
    BiasedActivation,
    Blur,
    ModulatedConvolution,
    NoiseStrength,
    ReadOut,
    Upsample,
    upsampling_kernel,
)
from tests.factories.models.weights import randomise


def zeros_between(maps: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 2 H, 2 W]: a zero behind every sample, both ways."""
    out = torch.zeros(*maps.shape[:2], 2 * maps.shape[2], 2 * maps.shape[3])
    out[:, :, ::2, ::2] = maps
    return out


def convolved(maps: Tensor, kernel: Tensor) -> Tensor:
    """Full two-dimensional convolution of every channel with one kernel, by scipy."""
    planes = [[signal.convolve2d(plane, kernel.numpy()) for plane in sample] for sample in maps.numpy()]
    return torch.from_numpy(np.array(planes, np.float32))


def convolved_per_sample(maps: Tensor, weights: Tensor, *, transposed: bool) -> Tensor:
    """Every sample with its own weights [B, O, I, K, K]: correlated to the same size, or convolved."""
    samples: list[Tensor] = []
    for sample, weight in zip(maps.numpy(), weights.numpy(), strict=True):
        planes: list[NDArray[np.float32]] = []
        for output in weight:
            terms = [
                signal.convolve2d(plane, kernel)
                if transposed
                else signal.correlate2d(plane, kernel, mode="same")
                for plane, kernel in zip(sample, output, strict=True)
            ]
            planes.append(np.sum(terms, axis=0))
        samples.append(torch.from_numpy(np.array(planes, np.float32)))
    return torch.stack(samples)


def modulated_weights(layer: ModulatedConvolution, style: Tensor, *, demodulate: bool) -> Tensor:
    """The formula of StyleGAN2 (equations 1 and 3) with equalised learning rates: [B, O, I, K, K]."""
    affine = layer.modulation
    factors = style @ (affine.weight / affine.weight.shape[1] ** 0.5).T + affine.bias
    fan_in = layer.weight[0, 0].numel()
    weights = layer.weight / fan_in**0.5 * factors[:, None, :, None, None]
    if demodulate:
        weights = weights / (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    return weights.detach()


def test_blur_kernel_values() -> None:
    kernel = upsampling_kernel()
    assert (kernel * 16).tolist() == [[1, 3, 3, 1], [3, 9, 9, 3], [3, 9, 9, 3], [1, 3, 3, 1]]
    assert kernel.sum() == 4


@pytest.mark.parametrize(("height", "width"), [(7, 7), (5, 8)])
def test_upsample_is_zero_insertion_and_convolution(height: int, width: int) -> None:
    layer = Upsample()
    layer.kernel.copy_(torch.randn(4, 4))  # not symmetric: a turned kernel would show
    maps = torch.randn(2, 3, height, width)
    # Two zeros before and one after, then a valid convolution.
    expected = convolved(zeros_between(maps), layer.kernel)[:, :, 1 : 2 * height + 1, 1 : 2 * width + 1]
    torch.testing.assert_close(layer(maps), expected, rtol=1e-4, atol=1e-5)


def test_upsample_preserves_constants_inside() -> None:
    assert torch.allclose(Upsample()(torch.full((1, 1, 6, 6), 0.7))[..., 1:-1, 1:-1], torch.tensor(0.7))


def test_blur_is_a_valid_convolution_of_the_padded_map() -> None:
    layer = Blur()
    layer.kernel.copy_(torch.randn(4, 4))
    maps = torch.randn(2, 3, 15, 11)
    torch.testing.assert_close(
        layer(maps), convolved(maps, layer.kernel)[:, :, 2:-2, 2:-2], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("kernel_side", "demodulate"), [(3, True), (1, False)])
def test_modulated_convolution_matches_per_sample_weights(kernel_side: int, *, demodulate: bool) -> None:
    layer = ModulatedConvolution(4, 5, kernel_side, 6, demodulate=demodulate)
    randomise(layer, seed=10)
    maps, style = torch.randn(3, 4, 7, 6), torch.randn(3, 6)
    weights = modulated_weights(layer, style, demodulate=demodulate)
    with torch.no_grad():
        torch.testing.assert_close(
            layer(maps, style), convolved_per_sample(maps, weights, transposed=False), rtol=1e-4, atol=1e-5
        )


def test_upsampling_modulated_convolution_matches_reference() -> None:
    layer = ModulatedConvolution(4, 5, 3, 6, upsample=True)
    randomise(layer, seed=11)
    maps, style = torch.randn(2, 4, 7, 7), torch.randn(2, 6)
    weights = modulated_weights(layer, style, demodulate=True)
    wide = convolved_per_sample(zeros_between(maps), weights, transposed=True)[:, :, :15, :15]
    assert layer.blur is not None
    expected = convolved(wide, layer.blur.kernel)[:, :, 2:-2, 2:-2]
    assert expected.shape == (2, 5, 14, 14)
    with torch.no_grad():
        torch.testing.assert_close(layer(maps, style), expected, rtol=1e-4, atol=1e-5)


def test_zero_style_gives_no_nan() -> None:
    layer = ModulatedConvolution(2, 2, 3, 3)
    with torch.no_grad():
        layer.modulation.bias.zero_()
        out = layer(torch.ones(1, 2, 4, 4), torch.zeros(1, 3))
    assert torch.equal(out, torch.zeros_like(out))


def test_biased_activation_values() -> None:
    layer = BiasedActivation(2)
    assert layer.bias.shape == (1, 2, 1, 1)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, -3.0])[None, :, None, None])
        out = layer(torch.full((1, 2, 1, 1), 1.0)).flatten()
    torch.testing.assert_close(out, torch.tensor([2.0, -0.4]) * 2**0.5)


def test_noise_map_is_shared_by_channels() -> None:
    layer = NoiseStrength()
    with torch.no_grad():
        layer.weight.fill_(0.5)
        out = layer(torch.zeros(1, 2, 1, 2), torch.tensor([[[[2.0, -4.0]]]]))
    assert out.tolist() == [[[[1.0, -2.0]], [[1.0, -2.0]]]]


def test_read_out_adds_bias_and_smaller_image() -> None:
    layer = ReadOut(4, 6, upsample=True)
    randomise(layer, seed=12)
    maps, style, smaller = torch.randn(2, 4, 6, 6), torch.randn(2, 6), torch.randn(2, 3, 3, 3)
    assert layer.upsample is not None
    weights = modulated_weights(layer.conv, style, demodulate=False)
    own = torch.einsum("boi,bihw->bohw", weights[..., 0, 0], maps)
    with torch.no_grad():
        expected = own + layer.bias + layer.upsample(smaller)
        torch.testing.assert_close(layer(maps, style, smaller), expected, rtol=1e-4, atol=1e-5)
