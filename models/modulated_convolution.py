"""StyleGAN2's building blocks: modulated convolutions, noise, blur, and the projection to RGB.

Modules and buffers have the names and shapes of the common PyTorch implementation of StyleGAN2 (Karras et al.
2020), so that the released generator's file loads directly, including the blur kernels.

Shape letters: B samples, I input channels, O output channels, K kernel side, H, W rows, columns,
D style width.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

BLUR_TAPS: Final = (1.0, 3.0, 3.0, 1.0)  # StyleGAN2's resampling filter
DEMODULATION_EPSILON: Final = 1e-8
LEAK: Final = 0.2
ACTIVATION_GAIN: Final = math.sqrt(2.0)  # keeps the variance through a leaky ReLU, StyleGAN2's value

NoiseMode = Literal["random", "stored", "off"]


def is_autocast_enabled(device: str) -> bool:
    """Whether autocast is on for a type of device; `meta` has none."""
    return device != "meta" and torch.is_autocast_enabled(device)


def autocast(device: str, *, enabled: bool) -> AbstractContextManager[object]:
    """`torch.autocast`, also for the device `meta`, where it does nothing."""
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=enabled)


def upsampling_kernel() -> Tensor:
    """The blur kernel [4, 4] with sum 4, which compensates for the inserted zeros."""
    taps = torch.tensor(BLUR_TAPS)
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum() * 4


class Blur(nn.Module):
    """Convolve each channel with the kernel after padding by one: [B, C, H, W] -> [B, C, H - 1, W - 1].

    The [2 H + 1, 2 W + 1] of a transposed convolution of stride two becomes [2 H, 2 W].
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Buffer(upsampling_kernel())

    @override
    def forward(self, maps: Tensor) -> Tensor:
        """Blur maps; the kernel is flipped, as in a convolution."""
        channels = maps.shape[1]
        kernel = self.kernel.flip(0, 1).to(maps.dtype).expand(channels, 1, -1, -1)
        return functional.conv2d(maps, kernel, padding=1, groups=channels)


class Upsample(nn.Module):
    """Insert zeros and blur: [B, C, H, W] -> [B, C, 2 H, 2 W]."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Buffer(upsampling_kernel())

    @override
    def forward(self, maps: Tensor) -> Tensor:
        """Double the size."""
        channels = maps.shape[1]
        kernel = self.kernel.to(maps.dtype).expand(channels, 1, -1, -1)
        return functional.conv_transpose2d(maps, kernel, stride=2, padding=1, groups=channels)


class EqualisedLinear(nn.Module):
    """Linear layer with weights of unit variance, scaled by 1 / sqrt(fan in) in use.

    ``[B, D] -> [B, I]``. The bias starts at one, so that an untrained style does not scale the channels.
    """

    def __init__(self, input_width: int, output_width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(output_width, input_width))
        self.bias = nn.Parameter(torch.ones(output_width))
        self.scale = 1.0 / math.sqrt(input_width)

    @override
    def forward(self, style: Tensor) -> Tensor:
        """One factor per input channel of a convolution; under autocast too in the weights' precision."""
        with autocast(style.device.type, enabled=False):
            return functional.linear(style.to(self.weight.dtype), self.weight * self.scale, self.bias)


class ModulatedConvolution(nn.Module):
    """Convolution whose weights are scaled per sample by the style and normalised (demodulated).

    The scaling is applied to input and output instead of to the weights, which is equivalent: one convolution
    for the whole batch, without weights [B, O, I, K, K]. Its factors are computed in the weights' precision
    under autocast too: rounded to bfloat16, they would hide a small code (pose, eye) in noise.
    """

    def __init__(
        self,
        input_channels: int,
        output_channels: int,
        kernel_side: int,
        style_width: int,
        *,
        upsample: bool = False,
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, output_channels, input_channels, kernel_side, kernel_side))
        self.modulation = EqualisedLinear(style_width, input_channels)
        self.blur = Blur() if upsample else None
        self.demodulate = demodulate
        self.scale = 1.0 / math.sqrt(input_channels * kernel_side**2)
        self.padding = kernel_side // 2

    @override
    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        """Convolve.

        Args:
            maps: [B, I, H, W].
            style: [B, D].

        Returns:
            [B, O, H, W], or [B, O, 2 H, 2 W] if the layer upsamples.
        """
        weight = self.weight[0] * self.scale
        factors = self.modulation(style)
        maps = (maps * factors[:, :, None, None]).to(maps.dtype)
        if self.blur is None:
            maps = functional.conv2d(maps, weight, padding=self.padding)
        else:
            maps = self.blur(functional.conv_transpose2d(maps, weight.transpose(0, 1), stride=2))
        if not self.demodulate:
            return maps
        with autocast(maps.device.type, enabled=False):
            energy = functional.linear(factors.square(), weight.square().sum(dim=(2, 3)))
        return (maps * torch.rsqrt(energy + DEMODULATION_EPSILON)[:, :, None, None]).to(maps.dtype)


class NoiseStrength(nn.Module):
    """Add noise [B or 1, 1, H, W] times a learned factor, initially zero."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    @override
    def forward(self, maps: Tensor, noise: Tensor) -> Tensor:
        """Add the same noise to every channel of maps [B, C, H, W]."""
        return maps + self.weight * noise


class BiasedActivation(nn.Module):
    """Bias per channel, leaky ReLU (0.2), gain sqrt(2): [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    @override
    def forward(self, maps: Tensor) -> Tensor:
        """Activate maps."""
        return functional.leaky_relu(maps + self.bias, LEAK) * ACTIVATION_GAIN


class StyledConvolution(nn.Module):
    """Modulated 3x3 convolution, noise, biased activation: [B, I, H, W] -> [B, O, H or 2 H, W or 2 W]."""

    def __init__(
        self, input_channels: int, output_channels: int, style_width: int, *, upsample: bool = False
    ) -> None:
        super().__init__()
        self.conv = ModulatedConvolution(input_channels, output_channels, 3, style_width, upsample=upsample)
        self.noise = NoiseStrength()
        self.activate = BiasedActivation(output_channels)

    @override
    def forward(self, maps: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        """Convolve maps under a style [B, D]; noise is [B or 1, 1, H, W] of the output size, or None."""
        maps = self.conv(maps, style)
        if noise is not None:
            maps = self.noise(maps, noise)
        return self.activate(maps)


class ReadOut(nn.Module):
    """Modulated 1x1 convolution to RGB without demodulation, added to the upsampled smaller image.

    In the weights' precision under autocast too, as the sum of all resolutions is the image itself.
    """

    def __init__(self, input_channels: int, style_width: int, *, upsample: bool) -> None:
        super().__init__()
        self.upsample = Upsample() if upsample else None
        self.conv = ModulatedConvolution(input_channels, 3, 1, style_width, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    @override
    def forward(self, maps: Tensor, style: Tensor, smaller: Tensor | None) -> Tensor:
        """RGB [B, 3, H, W] of maps [B, C, H, W], added to the image [B, 3, H / 2, W / 2]."""
        with autocast(maps.device.type, enabled=False):
            image = self.conv(maps.to(self.bias.dtype), style) + self.bias
            if self.upsample is None or smaller is None:
                return image
            return image + self.upsample(smaller)
