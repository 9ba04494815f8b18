"""Head pose loss (stage 2, pose): L1 against labels, angles and translation balanced."""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from storage.settings import Settings
from training.losses.distances import full_precision, mean_absolute_difference


class PoseScale(Settings):
    """Units of the pose code.

    Labels are in radians and centimetres. Heads turn by tenths of a radian and move by centimetres, so the
    translation would dominate an L1 loss of the raw labels. In these units both are of the order of tenths,
    as are the style vector's other codes. The defaults are the units of Deep3DFaceRecon, which labelled the
    paper's poses. Unverified: that the paper used its output unscaled.
    """

    angle_rad: float = Field(default=1.0, gt=0)
    translation_cm: float = Field(default=10.0, gt=0)


def pose_loss(
    pose_code: Float[Tensor, "B 6"], pose_label: Float[Tensor, "B 6"], scale: PoseScale
) -> Float[Tensor, ""]:
    """``L_pose = ||p − p̂ / u||₁ / 6``, the mean over the batch; u = 3 × angle unit, 3 × translation unit.

    PD-FGC, stage 2: "L1 against labels from an off-the-shelf 3D face reconstruction model". Angles and
    translation, three numbers each, have the same weight in the scale's units.

    Args:
        pose_code: p, the output of the pose head, in the scale's units.
        pose_label: p̂: pitch, yaw, roll in rad, then x, y, z in cm, in the data's frame of reference.
        scale: u.

    Returns:
        At least 0; 0 for perfect codes. The labels get no gradient.
    """
    return mean_absolute_difference(pose_code, pose_in_units(pose_label.detach(), scale))


def pose_in_units(pose_rad_cm: Float[Tensor, "B 6"], scale: PoseScale) -> Float[Tensor, "B 6"]:
    """Pitch, yaw, roll in rad and x, y, z in cm -> the scale's units."""
    angles, translation = full_precision(pose_rad_cm).split(3, dim=1)
    return torch.cat([angles / scale.angle_rad, translation / scale.translation_cm], dim=1)


def pose_in_rad_cm(pose_code: Float[Tensor, "B 6"], scale: PoseScale) -> Float[Tensor, "B 6"]:
    """The scale's units -> pitch, yaw, roll in rad and x, y, z in cm: the inverse of `pose_in_units`."""
    angles, translation = full_precision(pose_code).split(3, dim=1)
    return torch.cat([angles * scale.angle_rad, translation * scale.translation_cm], dim=1)
