"""Landmarks of a face that no frame shows: the head, eyes, mouth and expression of different frames (ours).

Shape letters: B rows.
"""

from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Tensor

from preprocessing.faces.shape.landmark_groups import (
    EYE_REGION_POINTS,
    IMAGE_LEFT_EYEBROW,
    IMAGE_RIGHT_EYEBROW,
    MOUTH_CORNERS,
    POSE_POINTS,
)
from preprocessing.faces.shape.mean_face import load_mean_face

NOSE_BASE: Final = 2
UPPER_LIP: Final = 0
SMALLEST_SIZE: Final = 1e-6  # px², so that landmarks at one point give finite ones


def composite_landmarks(
    head_px: Tensor, eyes_px: Tensor, mouth_px: Tensor, means_px: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Landmarks [B, 478, 3] of heads with the eyes and mouths of other frames of the same person.

    Eyes and mouth are taken to the head by the similarity that fits their frames' rigid points (nose, eye
    corners, upper cheeks) to the head's. The mouth takes the lower face along: its share grows from 0 at the
    nose's base to 1 at the upper lip.

    Args:
        head_px: [B, 478, 3], z in px as well; its place and rotation, and everything but eyes and mouth.
        eyes_px: [B, 478, 3].
        mouth_px: [B, 478, 3].
        means_px: mean landmarks [B, 478, 3] over the frames whose expression the face has, and over those
            around the mouth's frame. The brows become those of the first; the mouth's corners and cheeks move
            by the difference of both, its middle, which speech opens, does not. None: brows are the head's,
            and the whole mouth is its frame's.
    """
    eyes, mouth, brows, corners = (share.to(head_px) for share in _shares())
    placed_eyes, placed_mouth = aligned(eyes_px, head_px), aligned(mouth_px, head_px)
    composite = head_px + eyes * (placed_eyes - head_px) + mouth * (placed_mouth - head_px)
    if means_px is None:
        return composite
    expression, around_mouth = (aligned(mean_px, head_px) for mean_px in means_px)
    return composite + brows * (expression - head_px) + corners * (expression - around_mouth)


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
def _shares() -> tuple[Tensor, ...]:
    """Shares [478, 1] of each landmark: the eyes' and the mouth's frame; expression in brows, in mouth."""
    sideways_cm, height_cm = load_mean_face().vertices_cm[:, :2].T
    below = (height_cm[NOSE_BASE] - height_cm) / (height_cm[NOSE_BASE] - height_cm[UPPER_LIP])
    eyes = np.zeros(len(height_cm))
    eyes[list(EYE_REGION_POINTS)] = 1.0
    mouth = np.clip(below, 0.0, 1.0)
    brows = np.zeros(len(height_cm))
    brows[[*IMAGE_LEFT_EYEBROW, *IMAGE_RIGHT_EYEBROW]] = 1.0
    corner_cm = np.abs(sideways_cm[list(MOUTH_CORNERS)]).mean()
    corners = mouth * np.clip(np.abs(sideways_cm) / corner_cm, 0.0, 1.0)
    return tuple(torch.from_numpy(shares)[:, None] for shares in (eyes, mouth, brows, corners))
