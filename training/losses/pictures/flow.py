"""Flow losses (ours, for the path `warp`): the portrait's landmarks move to the driving frame's."""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from preprocessing.faces.shape.landmark_groups import (
    IMAGE_LEFT_EYE_CORNERS,
    IMAGE_LEFT_IRIS,
    IMAGE_LEFT_LOWER_LID,
    IMAGE_LEFT_UPPER_LID,
    IMAGE_RIGHT_EYE_CORNERS,
    IMAGE_RIGHT_IRIS,
    IMAGE_RIGHT_LOWER_LID,
    IMAGE_RIGHT_UPPER_LID,
    INNER_LIP_LOWER_MIDDLE,
    INNER_LIP_UPPER_MIDDLE,
    MOUTH_CORNERS,
)
from training.losses.distances import full_precision

NOSE_BASE: Final = 2
_MIDDLE: Final = slice(2, 5)  # of the seven points of a lid
NEIGHBOURS: Final = (
    *zip(IMAGE_LEFT_UPPER_LID[_MIDDLE], IMAGE_LEFT_LOWER_LID[_MIDDLE], strict=True),
    *zip(IMAGE_RIGHT_UPPER_LID[_MIDDLE], IMAGE_RIGHT_LOWER_LID[_MIDDLE], strict=True),
    *((IMAGE_LEFT_IRIS[0], point) for point in (*IMAGE_LEFT_EYE_CORNERS, 159, 145)),
    *((IMAGE_RIGHT_IRIS[0], point) for point in (*IMAGE_RIGHT_EYE_CORNERS, 386, 374)),
    *zip(INNER_LIP_UPPER_MIDDLE, INNER_LIP_LOWER_MIDDLE, strict=True),
    MOUTH_CORNERS,
    *((corner, NOSE_BASE) for corner in MOUTH_CORNERS),
    *((105, corner) for corner in IMAGE_LEFT_EYE_CORNERS),
    *((334, corner) for corner in IMAGE_RIGHT_EYE_CORNERS),
)
"""Pairs of landmarks whose place relative to each other shows blinks, gaze, speech or expression: upper and
lower lid, iris and the eye's corners and lids, upper and lower lip, the mouth's corners and the nose's base,
brows and the eye's corners."""


def landmark_flow_loss(
    flow: Float[Tensor, "B 2 S S"],
    appearance_landmarks_px: Float[Tensor, "B 478 3"],
    driving_landmarks_px: Float[Tensor, "B 478 3"],
    crop_side_px: int,
) -> Float[Tensor, ""]:
    """``mean_l |w(p_l) - (q_l - p_l)|``, p_l the driving frame's landmarks, q_l the appearance frame's.

    w(p) is the flow at p: where the generator samples the portrait for the pixel at p. Without this loss, the
    flow is learned from pixels alone, which first blur until the flow is nearly right.

    Args:
        flow: w, in units of half a side.
        appearance_landmarks_px: in crops of `crop_side_px`; 0 px is the first pixel's centre.
        driving_landmarks_px: the same.
        crop_side_px: side of the stored crops.

    Returns:
        At least 0, in units of half a side.
    """
    errors = _flow_errors(flow, appearance_landmarks_px, driving_landmarks_px, crop_side_px)
    return errors.abs().mean()


def local_flow_loss(
    flow: Float[Tensor, "B 2 S S"],
    appearance_landmarks_px: Float[Tensor, "B 478 3"],
    driving_landmarks_px: Float[Tensor, "B 478 3"],
    crop_side_px: int,
) -> Float[Tensor, ""]:
    """``mean_(l, m) |e_l - e_m|`` over `NEIGHBOURS`, e_l = w(p_l) - (q_l - p_l) the error at a landmark.

    Lids, irises and lips move by a pixel or two relative to each other, the head by ten: in the mean over all
    landmarks their motion is lost. Moving all points alike changes nothing here.

    Arguments and unit as in `landmark_flow_loss`.
    """
    errors = _flow_errors(flow, appearance_landmarks_px, driving_landmarks_px, crop_side_px)
    first, second = torch.tensor(NEIGHBOURS, device=errors.device).T
    return (errors[:, first] - errors[:, second]).abs().mean()


def bending_energy(flow: Float[Tensor, "B 2 S S"]) -> Float[Tensor, ""]:
    """``mean |w_xx|² + 2 |w_xy|² + |w_yy|²``, second differences of the flow in its own pixels.

    Landmarks determine the flow of a face and nothing beyond it. Where pixels teach too little, between hair
    and background, neighbouring cells drift apart and tear outlines; moving, turning and scaling the picture
    cost nothing here.
    """
    moved_px = full_precision(flow) * (flow.shape[-1] / 2)
    across, down = moved_px.diff(dim=3), moved_px.diff(dim=2)
    bent = (across.diff(dim=3), down.diff(dim=2))
    twist = across.diff(dim=2)
    return sum((part.square().mean() for part in bent), 2 * twist.square().mean())


def _flow_errors(
    flow: Float[Tensor, "B 2 S S"],
    appearance_landmarks_px: Float[Tensor, "B 478 3"],
    driving_landmarks_px: Float[Tensor, "B 478 3"],
    crop_side_px: int,
) -> Float[Tensor, "B 478 2"]:
    target, source = (
        (points[..., :2] * 2 + 1) / crop_side_px - 1
        for points in (driving_landmarks_px, appearance_landmarks_px)
    )
    sampled = functional.grid_sample(
        full_precision(flow), target[:, None], padding_mode="border", align_corners=False
    )
    return sampled[:, :, 0].transpose(1, 2) - (source - target)
