"""Consistency (stage 3): the generated frame has the driving frame's lips, gaze and motion.

``L_con = exp(−S(V_lip(I_f), E_aud(a_g))) + ||𝒢(I_f) − 𝒢(I_g)||₁ + L_mot`` (PD-FGC). The stage weights and
logs the three terms separately; the third is `training.losses.pictures.motion_reconstruction`.

Reading: I_f is the generated frame, I_g the driving frame that it reconstructs, a_g the driving frame's
audio. (Stage 1's L_mot calls the generated frame I_g.) The other way round, the lip term would compare a real
frame with real audio and train nothing.
"""

from jaxtyping import Float
from torch import Tensor

from training.losses.distances import cosine_similarity, full_precision


def lip_consistency_loss(
    lip_generated: Float[Tensor, "B D"], audio_target: Float[Tensor, "B D"]
) -> Float[Tensor, ""]:
    """``exp(−S(V_lip(I_f), E_aud(a_g)))``, the mean over the batch.

    Args:
        lip_generated: V_lip of the generated frames.
        audio_target: E_aud of the driving frames' audio.

    Returns:
        In [1/e, e], least where lips and audio features are parallel. The audio gets no gradient.
    """
    return (-cosine_similarity(lip_generated, audio_target.detach())).exp().mean()


def gaze_consistency_loss(
    gaze_generated: Float[Tensor, "B G"], gaze_target: Float[Tensor, "B G"]
) -> Float[Tensor, ""]:
    """``||𝒢(I_f) − 𝒢(I_g)||₁``, the mean over the batch.

    Reading: summed over the estimator's outputs (pitch and yaw in rad, for an estimator of angles).

    Args:
        gaze_generated: 𝒢 of the generated frames.
        gaze_target: 𝒢 of the driving frames.

    Returns:
        At least 0; 0 for equal gaze. The target gets no gradient.
    """
    difference = full_precision(gaze_generated) - full_precision(gaze_target.detach())
    return difference.abs().sum(dim=1).mean()
