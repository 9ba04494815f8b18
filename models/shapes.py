"""Checks of the tensors that a network is given."""

from torch import Tensor


def require_shape(name: str, tensor: Tensor, *sizes: int) -> None:
    """Hold a batch to its shape.

    Args:
        name: What the tensor is, for the message.
        tensor: [B, *sizes].
        sizes: Every size behind the batch's.

    Raises:
        ValueError: the tensor has another shape.
    """
    if tuple(tensor.shape[1:]) != sizes or tensor.ndim != len(sizes) + 1:
        expected = ", ".join(["B", *map(str, sizes)])
        raise ValueError(f"{name} must be [{expected}], got {list(tensor.shape)}")
