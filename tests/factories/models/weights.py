"""Weights for tests: every value drawn anew, so that no factor of one or zero hides a mistake."""

import torch
from torch import nn

from models.external.emonet import EmoNetConfig

TOY_EMONET = EmoNetConfig(
    image_side_px=32,
    stem_channels=8,
    middle_channels=8,
    channels=16,
    hourglass_depth=2,
    landmark_count=3,
    block_count=2,
    hidden_width=6,
)


def randomise(network: nn.Module, seed: int) -> None:
    """Draw every parameter and buffer of the network; what must be positive (variances) is."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=source)
            elif tensor.ndim > 1:
                tensor.normal_(0.0, tensor[0].numel() ** -0.5, generator=source)
            else:
                tensor.normal_(0.3, 0.5, generator=source)


def parameter_count(network: nn.Module) -> int:
    """How many values of the network are trained."""
    return sum(parameter.numel() for parameter in network.parameters())
