"""Conversion of stored crops to network input, on the device."""

import torch
from torch import Tensor
from torch.nn import functional


def to_network_input(frames: Tensor, side_px: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Convert and resize crops.

    Args:
        frames: uint8 [..., 3, H, W] RGB.
        side_px: the preset's (224 official, 64 tiny).
        dtype: of the result.

    Returns:
        [..., 3, side_px, side_px] in [-1, 1], antialiased bilinear.

    Raises:
        ValueError: frames of another dtype or shape.
    """
    if frames.dtype != torch.uint8 or frames.ndim < 3 or frames.shape[-3] != 3:
        raise ValueError(f"frames must be uint8[..., 3, H, W], got {frames.dtype}{list(frames.shape)}")
    scaled = frames.float() / 127.5 - 1.0
    if frames.shape[-2:] == (side_px, side_px):
        return scaled.to(dtype)
    flat = scaled.flatten(0, -4) if frames.ndim > 3 else scaled[None]
    resized = functional.interpolate(
        flat, (side_px, side_px), mode="bilinear", antialias=True, align_corners=False
    )
    # Converted last: bfloat16 cannot be resized on a CPU.
    return resized.reshape(*frames.shape[:-2], side_px, side_px).to(dtype)
