"""PSNR and SSIM of a video against the true one, frame by frame, by torchmetrics.

Pictures are RGB, 0 to 255, compared at the size at which they come, nothing cropped or masked. The size is
part of the metric's name: values at different sizes do not compare.
"""

import math
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from evaluation.metrics.metric import Measurement, Metric
from evaluation.metrics.pictures.inputs import PictureReference, PictureVideo, paired_batches

SCORER: Final = "torchmetrics"
HIGHEST_VALUE: Final = 255.0


def measure_psnr(generated: PictureVideo, reference: PictureReference) -> Measurement:
    """10 log10(255² / mean squared error), the error averaged over all frames of the video.

    A mean of the frames' PSNR would be infinite as soon as one frame equals the truth. Missing if the video
    is the truth itself, pixel for pixel.

    Raises:
        ValueError: there are no pictures, or the videos differ in length or size.
    """
    squared = [
        (batch.float() - truth.float()).double().square().mean(dim=(1, 2, 3))
        for batch, truth in paired_batches(generated.pictures, reference.true_pictures)
    ]
    error = float(torch.cat(squared).mean())
    if error == 0.0:
        return Measurement(None, "equal to the truth, pixel for pixel: PSNR is infinite")
    return Measurement(10.0 * math.log10(HIGHEST_VALUE**2 / error))


def measure_ssim(generated: PictureVideo, reference: PictureReference) -> Measurement:
    """Mean SSIM over channels, pixels and frames, in [-1, 1].

    Gaussian window of 11 x 11, sigma 1.5, K 0.01 and 0.03.
    Computed in float32: torch's convolution takes two hundred times as long in float64. Variances are
    differences of squares, so flat pictures, the worst case, are off by 2e-4.

    Raises:
        ValueError: as `measure_psnr`.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    similarity: list[Tensor] = []
    for batch, truth in paired_batches(generated.pictures, reference.true_pictures):
        ssim = structural_similarity_index_measure(
            batch.float(), truth.float(), data_range=HIGHEST_VALUE, reduction="none"
        )
        assert isinstance(ssim, Tensor)
        similarity.append(ssim)
    return Measurement(float(torch.cat(similarity).mean()))


def measure_psnr_cross_truth(generated: PictureVideo, reference: PictureReference) -> Measurement:
    """`measure_psnr` against the rendered true pictures of a cross video; missing where they are unknown."""
    if reference.cross_truth is None:
        return Measurement(None, reference.no_cross_truth)
    return measure_psnr(generated, replace(reference, truth=reference.cross_truth))


def measure_ssim_cross_truth(generated: PictureVideo, reference: PictureReference) -> Measurement:
    """`measure_ssim` against the rendered true pictures of a cross video; missing where they are unknown."""
    if reference.cross_truth is None:
        return Measurement(None, reference.no_cross_truth)
    return measure_ssim(generated, replace(reference, truth=reference.cross_truth))


PSNR: Final = Metric(
    "psnr_{side_px}px",
    protocol="all frames, at the pictures' size",
    unit="dB",
    direction="higher",
    measure=measure_psnr,
    scorer=SCORER,
    tasks=("self",),
)
SSIM: Final = Metric(
    "ssim_{side_px}px",
    protocol="all frames, at the pictures' size",
    unit="",
    direction="higher",
    measure=measure_ssim,
    scorer=SCORER,
    tasks=("self",),
)
CROSS_TRUTH_PROTOCOL: Final = (
    "all frames against the portrait's person rendered with each driver's control, aligned like a clip"
)
PSNR_CROSS_TRUTH: Final = Metric(
    "psnr_cross_truth_{side_px}px",
    protocol=CROSS_TRUTH_PROTOCOL,
    unit="dB",
    direction="higher",
    measure=measure_psnr_cross_truth,
    scorer=SCORER,
    tasks=("cross",),
)
SSIM_CROSS_TRUTH: Final = Metric(
    "ssim_cross_truth_{side_px}px",
    protocol=CROSS_TRUTH_PROTOCOL,
    unit="",
    direction="higher",
    measure=measure_ssim_cross_truth,
    scorer=SCORER,
    tasks=("cross",),
)
