"""The multi-scale patch discriminator; its features are used in feature matching.

Its weights were not released; structure and parameter count (5,527,682) are known. Padding and strides, which
do not change the count, follow the usual multi-scale PatchGAN (pix2pixHD).

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
    """Convolutions before the score; all but the last of them halve the map."""
    filters: int = 64
    largest_filters: int = 512
    spectral_norm: bool = True
    """Normalise the spectral norm of each layer to one. Without it, the R1 penalty is the usual
    regulariser."""


@dataclass(frozen=True)
class PatchScores:
    """Output of one scale.

    score [B, 1, H, W]: higher is more real, no activation; features: the maps of all layers before it.
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
        """Score images [B, 3, H, W], RGB in [-1, 1]."""
        features: list[Tensor] = []
        maps = image
        for layer in self.layers:
            maps = layer(maps)
            features.append(maps)
        return PatchScores(self.score(maps), tuple(features))


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators on the image and on downsampled versions of it."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.scales = nn.ModuleList(PatchDiscriminator(config) for _ in range(config.scale_count))

    @override
    def forward(self, image: Tensor) -> tuple[PatchScores, ...]:
        """Score images [B, 3, H, W], RGB in [-1, 1]: one output per scale, the finest first."""
        outputs: list[PatchScores] = []
        for scale in self.scales:
            outputs.append(scale(image))
            image = functional.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
        return tuple(outputs)


def normalised_layer(
    input_channels: int, output_channels: int, stride: int, *, spectral: bool
) -> nn.Sequential:
    """Convolution (spectrally normalised or not), instance normalisation, leaky ReLU.

    Without bias, which the instance normalisation would cancel.
    """
    convolution = nn.Conv2d(
        input_channels, output_channels, KERNEL_SIDE, stride=stride, padding=PADDING, bias=False
    )
    layer = spectral_norm(convolution) if spectral else convolution
    return nn.Sequential(layer, nn.InstanceNorm2d(output_channels), nn.LeakyReLU(LEAK))
