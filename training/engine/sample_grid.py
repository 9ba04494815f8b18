"""Sample grids: what a stage makes, as a picture a person can look at."""

from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torchvision.io import encode_jpeg
from torchvision.utils import make_grid

from storage.atomic import write_atomically

SAMPLES_FOLDER: Final = "samples"
_ROWS: Final = 8
_JPEG_QUALITY: Final = 90


def write_sample_grid(work: Path, step: int, rows: Tensor) -> tuple[Tensor, bytes]:
    """Write a grid as JPEG into the run's folder.

    Args:
        work: the run's folder.
        step: that it is of.
        rows: [rows, columns, 3, S, S] RGB in [-1, 1]; the first eight rows are shown.

    Returns:
        The picture, uint8 [3, H, W], and its JPEG.
    """
    pictures = (rows[:_ROWS].flatten(0, 1).float().cpu() + 1) * 127.5
    picture = make_grid(pictures, nrow=rows.shape[1], padding=2).round().clamp(0, 255).to(torch.uint8)
    encoded = encode_jpeg(picture, quality=_JPEG_QUALITY)
    assert isinstance(encoded, Tensor)
    jpeg = encoded.numpy().tobytes()
    with write_atomically(work / SAMPLES_FOLDER / f"step-{step:08d}.jpg") as file:
        file.write_bytes(jpeg)
    return picture, jpeg
