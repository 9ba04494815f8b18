"""Lip contrastive losses (stage 2, lip): lips and audio retrieve each other among K negatives."""

from jaxtyping import Float
from torch import Tensor

from training.losses.codes.contrastive import FORMULA_TEMPERATURE, contrastive_loss


def audio_to_video_loss(
    f_a: Float[Tensor, "B D"],
    f_v: Float[Tensor, "B D"],
    f_v_negative: Float[Tensor, "B K D"],
    *,
    temperature: float = FORMULA_TEMPERATURE,
) -> Float[Tensor, ""]:
    """L_a2v: audio retrieves its lips (PD-FGC, stage 2).

    ``L_a2v = −log[ exp S(f_a_i, f_v_i) / (exp S(f_a_i, f_v_i) + Σ_k exp S(f_a_i, f_v_k)) ]``, the mean over
    the batch, S divided by the temperature.

    Args:
        f_a: E_aud(a_i), audio features.
        f_v: E_lip(E_mot(v_i)), lip features of the same windows.
        f_v_negative: Lips of other windows, K for each audio feature. Unverified: K.
        temperature: τ > 0; see `FORMULA_TEMPERATURE`.

    Returns:
        At least log(1 + K exp(−2/τ)); log(1 + K) by chance.
    """
    return contrastive_loss(f_a, f_v, f_v_negative, temperature=temperature)


def video_to_audio_loss(
    f_v: Float[Tensor, "B D"],
    f_a: Float[Tensor, "B D"],
    f_a_negative: Float[Tensor, "B K D"],
    *,
    temperature: float = FORMULA_TEMPERATURE,
) -> Float[Tensor, ""]:
    """L_v2a: lips retrieve their audio (PD-FGC, stage 2), the reverse of `audio_to_video_loss`.

    ``L_v2a = −log[ exp S(f_v_i, f_a_i) / (exp S(f_v_i, f_a_i) + Σ_k exp S(f_v_i, f_a_k)) ]``

    Args:
        f_v: E_lip(E_mot(v_i)), lip features.
        f_a: E_aud(a_i), audio features of the same windows.
        f_a_negative: Audio of other windows, K for each lip feature. Unverified: K.
        temperature: τ > 0; see `FORMULA_TEMPERATURE`.

    Returns:
        At least log(1 + K exp(−2/τ)); log(1 + K) by chance.
    """
    return contrastive_loss(f_v, f_a, f_a_negative, temperature=temperature)
