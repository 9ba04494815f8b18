"""Consistency: the generated frame speaks, looks and moves as it was told to (stage 3).

I_f is the generated frame and I_g the driving one that it remakes; a_g is the driving frame's sound.
(Stage 1's L_mot calls the generated frame I_g.) It can be no other way round: the lips' term would
compare a real frame with real sound, and train nothing.
"""

from jaxtyping import Float
from torch import Tensor

from training.losses.distances import cosine_similarity, full_precision
from training.losses.motion_reconstruction import motion_reconstruction_loss


def lip_consistency_loss(
    lip_generated: Float[Tensor, "B D"], audio_target: Float[Tensor, "B D"]
) -> Float[Tensor, ""]:
    """``exp(−S(V_lip(I_f), E_aud(a_g)))``, the mean over the batch.

    Args:
        lip_generated: V_lip of the generated frames.
        audio_target: E_aud of the driving frames' sound.

    Returns:
        In [1/e, e], least where lips and sound point the same way. The sound gets no gradient.
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


def consistency_loss(
    *,
    lip_generated: Float[Tensor, "B D"],
    audio_target: Float[Tensor, "B D"],
    gaze_generated: Float[Tensor, "B G"],
    gaze_target: Float[Tensor, "B G"],
    phi_generated: Float[Tensor, "B P"],
    phi_target: Float[Tensor, "B P"],
    psi_generated: Float[Tensor, "B Q"],
    psi_target: Float[Tensor, "B Q"],
) -> Float[Tensor, ""]:
    """``L_con = exp(−S(V_lip(I_f), E_aud(a_g))) + ||𝒢(I_f) − 𝒢(I_g)||₁ + L_mot`` (PD-FGC, stage 3).

    The sum of its three parts, unweighted as printed; a stage that weighs or logs them calls the parts.
    φ and ψ are those of `motion_reconstruction_loss`, the targets of I_g. No target gets a gradient.

    Returns:
        At least 1/e.
    """
    return (
        lip_consistency_loss(lip_generated, audio_target)
        + gaze_consistency_loss(gaze_generated, gaze_target)
        + motion_reconstruction_loss(phi_target, phi_generated, psi_target, psi_generated)
    )
