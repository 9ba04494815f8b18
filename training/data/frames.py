"""Stored crops as network input, on the device."""

import torch
from torch import Tensor
from torch.nn import functional


def to_network_input(frames: Tensor, side_px: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Crops as the networks take them.

    Args:
        frames: uint8 [..., 3, H, W] RGB.
        side_px: the preset's (224 official, 64 tiny).
        dtype: of the result.

    Returns:
        [..., 3, side_px, side_px] in [-1, 1]; shrunk by antialiased bilinear interpolation.

    Raises:
        ValueError: frames of another dtype or shape.
    """
    if frames.dtype != torch.uint8 or frames.ndim < 3 or frames.shape[-3] != 3:
        raise ValueError(f"frames are {frames.dtype}{list(frames.shape)}, need uint8[..., 3, H, W]")
    scaled = frames.float() / 127.5 - 1.0
    if frames.shape[-2:] == (side_px, side_px):
        return scaled.to(dtype)
    flat = scaled.flatten(0, -4) if frames.ndim > 3 else scaled[None]
    small = functional.interpolate(
        flat, (side_px, side_px), mode="bilinear", antialias=True, align_corners=False
    )
    return small.reshape(*frames.shape[:-2], side_px, side_px).to(
        dtype
    )  # bfloat16 cannot be resized on a CPU
