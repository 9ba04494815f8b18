"""The discriminator: is a patch real, at several scales. Its features serve the matching loss.

The authors never released their weights; structure and parameter count (5,527,682) are known. Padding
and strides follow the usual multi-scale PatchGAN (pix2pixHD), which those numbers cannot show.

Shape letters: B samples, C channels, H, W rows and columns.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm
from typing_extensions import override

KERNEL_SIDE = 4
PADDING = 2
LEAK = 0.2


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Scales and widths; the defaults have the authors' parameter count."""

    scale_count: int = 2
    layer_count: int = 4
    """Convolutions before the last one; all but the last of them halve the map."""
    filters: int = 64
    largest_filters: int = 512
    spectral_norm: bool = True
    """Hold each layer's gain at one. Without it the penalty R1 is the usual means to calm the game."""


@dataclass(frozen=True)
class PatchScores:
    """One scale's verdict.

    score [B, 1, H, W]: higher is more real, no activation; features: the maps of every layer before it.
    """

    score: Tensor
    features: tuple[Tensor, ...]


class PatchDiscriminator(nn.Module):
    """Convolutions with spectral and instance normalisation at one scale: [B, 3, H, W] -> scores."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        filters = config.filters
        first = nn.Conv2d(3, filters, KERNEL_SIDE, stride=2, padding=PADDING)
        layers: list[nn.Module] = [nn.Sequential(first, nn.LeakyReLU(LEAK))]
        for layer in range(1, config.layer_count):
            wider = min(2 * filters, config.largest_filters)
            stride = 1 if layer == config.layer_count - 1 else 2
            layers.append(normalised_layer(filters, wider, stride, spectral=config.spectral_norm))
            filters = wider
        self.layers = nn.ModuleList(layers)
        self.score = nn.Conv2d(filters, 1, KERNEL_SIDE, padding=PADDING)

    @override
    def forward(self, image: Tensor) -> PatchScores:
        """Judge images [B, 3, H, W], RGB in [-1, 1]."""
        features: list[Tensor] = []
        maps = image
        for layer in self.layers:
            maps = layer(maps)
            features.append(maps)
        return PatchScores(self.score(maps), tuple(features))


class MultiScaleDiscriminator(nn.Module):
    """The same kind of discriminator on the image and on its halvings."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.scales = nn.ModuleList(PatchDiscriminator(config) for _ in range(config.scale_count))

    @override
    def forward(self, image: Tensor) -> tuple[PatchScores, ...]:
        """Judge images [B, 3, H, W], RGB in [-1, 1]: one verdict per scale, the finest first."""
        verdicts: list[PatchScores] = []
        for scale in self.scales:
            verdicts.append(scale(image))
            image = functional.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
        return tuple(verdicts)


def normalised_layer(
    input_channels: int, output_channels: int, stride: int, *, spectral: bool
) -> nn.Sequential:
    """Convolution, spectrally normalised if asked for, instance normalisation, leaky ReLU.

    No bias: the instance normalisation would take it away.
    """
    convolution = nn.Conv2d(
        input_channels, output_channels, KERNEL_SIDE, stride=stride, padding=PADDING, bias=False
    )
    layer = spectral_norm(convolution) if spectral else convolution
    return nn.Sequential(layer, nn.InstanceNorm2d(output_channels), nn.LeakyReLU(LEAK))
