"""Flow loss (ours, for the appearance path `warp`): the portrait's landmarks move to the driving frame's."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from training.losses.distances import full_precision


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
    target, source = (
        (points[..., :2] * 2 + 1) / crop_side_px - 1
        for points in (driving_landmarks_px, appearance_landmarks_px)
    )
    sampled = functional.grid_sample(
        full_precision(flow), target[:, None], padding_mode="border", align_corners=False
    )
    difference = sampled[:, :, 0].transpose(1, 2) - (source - target)
    return difference.abs().mean()
