"""Shape checks of a network's inputs, and the memory layout of its weights."""

import torch
from torch import Tensor, nn


def require_shape(name: str, tensor: Tensor, *sizes: int) -> None:
    """Require a tensor of shape [B, *sizes]; `name` stands in the error.

    Raises:
        ValueError: the tensor has another shape.
    """
    if tuple(tensor.shape[1:]) != sizes or tensor.ndim != len(sizes) + 1:
        expected = ", ".join(["B", *map(str, sizes)])
        raise ValueError(f"{name} must be [{expected}], got {list(tensor.shape)}")


def to_channels_last(network: nn.Module) -> nn.Module:
    """Store convolution weights channels last, in place: the fastest layout on tensor cores and on CPUs.

    `network.to(memory_format=torch.channels_last)` raises for the generator, whose published layout has
    five-dimensional weights [1, O, I, K, K]. Those are left as they are; its activations are channels last
    where its input is.

    Returns:
        The same network.
    """
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
