"""Channels-last weights, which tensor cores and the CPU's convolutions are quickest with."""

import torch
from torch import nn


def to_channels_last(network: nn.Module) -> nn.Module:
    """Lay the network's convolution weights out channels last, in place; values and shapes stay.

    `network.to(memory_format=torch.channels_last)` refuses the generator, to which the published layout
    gives weights of five dimensions, [1, O, I, K, K]. Those stay as they are: its activations are channels
    last all the same where its input is.

    Returns:
        The same network.
    """
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
