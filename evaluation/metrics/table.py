"""Every metric that an evaluation measures, one table for each suite.

To add a metric, write its file and name it here; see docs/extending.md. Imports torch.
"""

from typing import Any, Final

from evaluation.metrics.control import following, landmark_distance, matrix
from evaluation.metrics.lip_sync import distance, lse_crop, lse_syncnet_frame, nlse_c
from evaluation.metrics.metric import Metric, MetricWeights
from evaluation.metrics.pictures import csim_insightface, fid_inception, lpips_alex, psnr_ssim, sharpness

SYNCNET: Final = MetricWeights("syncnet_v2", "syncnet_weights")

QUALITY_METRICS: tuple[Metric[Any, Any], ...] = (
    psnr_ssim.PSNR,
    psnr_ssim.SSIM,
    psnr_ssim.PSNR_CROSS_TRUTH,
    psnr_ssim.SSIM_CROSS_TRUTH,
    lpips_alex.LPIPS_ALEX,
    sharpness.BLUR_EFFECT,
    csim_insightface.CSIM_INSIGHTFACE,
    fid_inception.FID_INCEPTION,
)
"""`PictureVideo` against `PictureReference`; over all videos: streams of pictures."""

LIP_SYNC_METRICS: tuple[Metric[Any, Any], ...] = (
    *distance.lse_metrics(lse_crop.PROTOCOL, None),
    *nlse_c.nlse_metrics(lse_crop.PROTOCOL, None),
    *distance.lse_metrics(lse_syncnet_frame.PROTOCOL, SYNCNET),
    *nlse_c.nlse_metrics(lse_syncnet_frame.PROTOCOL, SYNCNET),
)
"""`Score` of a video against that of its truth; over all videos: lists of them."""

FACE_METRICS: tuple[Metric[Any, Any], ...] = following.FOLLOWING_METRICS
"""`FaceReadings` against the drivers of a `ControlReference`."""

LANDMARK_METRICS: tuple[Metric[Any, Any], ...] = (landmark_distance.M_LMD, landmark_distance.F_LMD)
"""`FaceReadings` against the true video of a `ControlReference`."""

BLENDSHAPE_METRICS: tuple[Metric[Any, Any], ...] = following.BLENDSHAPE_METRICS
"""`BlendshapeReadings` against the drivers of a `ControlReference`."""

MATRIX_METRICS: tuple[Metric[Any, Any], ...] = matrix.MATRIX_METRICS
"""Cells and scores of a `ControlMatrix`."""
