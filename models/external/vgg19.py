"""VGG19 features for the perceptual loss.

Layout of torchvision's `vgg19` (`features.N`), up to the first ReLU of its fifth block.

Shape letters: B samples, C channels, H, W rows and columns.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from typing_extensions import override

from models.checkpoint_file import OfficialFile, load_checkpoint

BLOCK_LENGTHS: Final = (2, 2, 4, 4, 4)
VGG19_CHANNELS: Final = (64, 128, 256, 512, 512)
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)  # torchvision's normalisation of its weights' input
IMAGENET_DEVIATION: Final = (0.229, 0.224, 0.225)
TORCHVISION_FILE: Final = OfficialFile(
    names=("vgg19-dcbb9e9d.pth",),
    unused=(r"classifier\.\d+\.(weight|bias)", r"features\.(30|32|34)\.(weight|bias)"),
)


@dataclass(frozen=True)
class VGG19Config:
    """Widths and input; the defaults are VGG19's."""

    block_channels: tuple[int, int, int, int, int] = VGG19_CHANNELS
    normalise_input: bool = True
    """Normalise the input as torchvision's weights expect. Unverified: whether the paper's loss did."""
    random_seed: int = 0
    """Of the random weights that are used without a file."""


class VGG19Features(nn.Module):
    """The maps after relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1; frozen.

    ``[B, 3, H, W] -> 5 x [B, C_i, H / 2 ** i, W / 2 ** i]``, C = 64, 128, 256, 512, 512. Gradients reach the
    image. Without a weights file the filters are random (He), from `config.random_seed`.
    """

    def __init__(self, config: VGG19Config, weights: Path | None = None) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.random_seed)
            self.features, self.taps = vgg_layers(config)
        self.mean = nn.Buffer(torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.deviation = nn.Buffer(torch.tensor(IMAGENET_DEVIATION)[:, None, None], persistent=False)
        if weights is not None:
            load_checkpoint(self, weights, TORCHVISION_FILE)
        self.requires_grad_(requires_grad=False)

    @override
    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The five maps of images [B, 3, H, W], RGB in [-1, 1]."""
        maps = image
        if self.config.normalise_input:
            maps = ((image + 1) / 2 - self.mean) / self.deviation
        tapped: list[Tensor] = []
        for index, layer in enumerate(self.features):
            maps = layer(maps)
            if index in self.taps:
                tapped.append(maps)
        return tuple(tapped)


def vgg_layers(config: VGG19Config) -> tuple[nn.Sequential, frozenset[int]]:
    """The layers up to relu5_1, numbered as torchvision numbers them, and the numbers of the five taps."""
    layers: list[nn.Module] = []
    taps: set[int] = set()
    input_channels = 3
    last_block = len(BLOCK_LENGTHS) - 1
    for block, (channels, length) in enumerate(zip(config.block_channels, BLOCK_LENGTHS, strict=True)):
        taps.add(len(layers) + 1)
        for _ in range(1 if block == last_block else length):
            convolution = nn.Conv2d(input_channels, channels, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # pyright: ignore[reportArgumentType] -- has one
            layers += [convolution, nn.ReLU()]
            input_channels = channels
        if block != last_block:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers), frozenset(taps)
