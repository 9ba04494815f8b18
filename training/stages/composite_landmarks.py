"""Landmarks of a face that no frame shows: one frame's head with another's eyes and a third's mouth (ours).

Shape letters: B rows.
"""

from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Tensor

from preprocessing.faces.landmark_groups import EYE_REGION_POINTS, POSE_POINTS
from preprocessing.faces.mean_face import load_mean_face

NOSE_BASE: Final = 2
UPPER_LIP: Final = 0
SMALLEST_SIZE: Final = 1e-6  # px², so that landmarks at one point give finite ones


def composite_landmarks(head_px: Tensor, eyes_px: Tensor, mouth_px: Tensor) -> Tensor:
    """Landmarks [B, 478, 3] of heads with the eyes and mouths of other frames of the same person.

    Eyes and mouth are taken to the head by the similarity that fits their frames' rigid points (nose, eye
    corners, upper cheeks) to the head's. The mouth takes the lower face along: its share grows from 0 at the
    nose's base to 1 at the upper lip.

    Args:
        head_px: [B, 478, 3], z in px as well; its place and rotation, and everything but eyes and mouth.
        eyes_px: [B, 478, 3].
        mouth_px: [B, 478, 3].
    """
    eyes, mouth = (share.to(head_px) for share in _shares())
    placed_eyes, placed_mouth = aligned(eyes_px, head_px), aligned(mouth_px, head_px)
    return head_px + eyes * (placed_eyes - head_px) + mouth * (placed_mouth - head_px)


def aligned(landmarks_px: Tensor, to_px: Tensor) -> Tensor:
    """Landmarks [B, 478, 3] rotated, scaled and moved so that their rigid points fit best those of `to_px`.

    Least squares (Umeyama 1991).
    """
    rigid = list(POSE_POINTS)
    source, target = landmarks_px[:, rigid], to_px[:, rigid]
    source_mean, target_mean = source.mean(dim=1, keepdim=True), target.mean(dim=1, keepdim=True)
    source, target = source - source_mean, target - target_mean
    u, sizes, v = torch.linalg.svd(target.transpose(1, 2) @ source)
    signs = torch.ones_like(sizes)
    signs[:, 2] = torch.linalg.det(u @ v).sign()
    rotation = u @ (signs[:, :, None] * v)
    scale = (sizes * signs).sum(dim=1) / source.square().sum(dim=(1, 2)).clamp_min(SMALLEST_SIZE)
    turned = (landmarks_px - source_mean) @ rotation.transpose(1, 2)
    return target_mean + scale[:, None, None] * turned


@cache
def _shares() -> tuple[Tensor, Tensor]:
    """Shares [478, 1] of the eyes' and of the mouth's frame in each landmark."""
    height_cm = load_mean_face().vertices_cm[:, 1]
    below = (height_cm[NOSE_BASE] - height_cm) / (height_cm[NOSE_BASE] - height_cm[UPPER_LIP])
    eyes = np.zeros(len(height_cm))
    eyes[list(EYE_REGION_POINTS)] = 1.0
    mouth = np.clip(below, 0.0, 1.0)
    return torch.from_numpy(eyes)[:, None], torch.from_numpy(mouth)[:, None]
