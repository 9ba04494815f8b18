"""PSNR and SSIM of a video against the truth, picture by picture, by torchmetrics.

Pictures are RGB, 0 to 255, compared at the size at which they come; it stands in the metric's name, since
figures at another size are other figures. Nothing is cropped or masked.
"""

import math
from typing import Final

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from evaluation.metrics.pictures.batches import Pictures, paired_batches
from evaluation.records import MetricRecord

SCORER: Final = "torchmetrics"
HIGHEST_VALUE: Final = 255.0


def psnr_ssim_rows(
    generated: Pictures, truth: Pictures, *, task: str, method: str, video: str
) -> list[MetricRecord]:
    """`psnr_<S>px` and `ssim_<S>px` of one video.

    PSNR is 10 log10(255² / mean squared error), the error's mean over all pictures of the video: of single
    pictures' PSNR one that is equal to the truth would make the mean infinite. SSIM has a Gaussian window of
    11 x 11, sigma 1.5, K 0.01 and 0.03, a mean over channels and pixels, then over pictures.

    Args:
        generated: Each uint8 [S, S, 3] RGB.
        truth: The same moments, of the same size.
        task: For the rows.
        method: For the rows.
        video: For the rows.

    Returns:
        PSNR in dB, missing where the video is the truth itself, pixel for pixel; SSIM in [-1, 1].

    Raises:
        ValueError: there are no pictures, or the two differ in number or size.
    """
    squared: list[Tensor] = []
    similar: list[Tensor] = []
    side_px = 0
    for mine, theirs in paired_batches(generated, truth):
        side_px = mine.shape[-1]
        a, b = mine.float(), theirs.float()
        squared.append((a - b).double().square().mean(dim=(1, 2, 3)))
        # In float64 torch's convolution takes two hundred times as long. In float32 variances are differences
        # of squares: flat pictures, the worst case, are off by 2e-4.
        ssim = structural_similarity_index_measure(a, b, data_range=HIGHEST_VALUE, reduction="none")
        assert isinstance(ssim, Tensor)
        similar.append(ssim)
    if not squared:
        raise ValueError(f"{video}: no pictures to compare")
    error = float(torch.cat(squared).mean())
    psnr = 10.0 * math.log10(HIGHEST_VALUE**2 / error) if error > 0.0 else None
    why = "" if error > 0.0 else "equal to the truth, pixel for pixel: PSNR is infinite"
    return [
        MetricRecord(f"psnr_{side_px}px", task, method, SCORER, video, psnr, "dB", "higher", why),
        MetricRecord(
            f"ssim_{side_px}px", task, method, SCORER, video, float(torch.cat(similar).mean()), "", "higher"
        ),
    ]
