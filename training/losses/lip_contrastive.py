"""Lips and sound: each finds the other among K negatives (stage 2, lip)."""

from jaxtyping import Float
from torch import Tensor

from training.losses.contrastive import FORMULA_TEMPERATURE, contrastive_loss


def audio_to_video_loss(
    f_a: Float[Tensor, "B D"],
    f_v: Float[Tensor, "B D"],
    f_v_negative: Float[Tensor, "B K D"],
    *,
    temperature: float = FORMULA_TEMPERATURE,
) -> Float[Tensor, ""]:
    """The sound finds its lips (PD-FGC, stage 2).

    ``L_a2v = −log[ exp S(f_a_i, f_v_i) / (exp S(f_a_i, f_v_i) + Σ_k exp S(f_a_i, f_v_k)) ]``, the mean over
    the batch, S divided by the temperature.

    Args:
        f_a: E_aud(a_i), the sound's features.
        f_v: E_lip(E_mot(v_i)), the lips' features of the same moments.
        f_v_negative: Lips of other moments, K for each sound. Unverified: K.
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
    """The lips find their sound (PD-FGC, stage 2): `audio_to_video_loss` the other way round.

    ``L_v2a = −log[ exp S(f_v_i, f_a_i) / (exp S(f_v_i, f_a_i) + Σ_k exp S(f_v_i, f_a_k)) ]``

    Args:
        f_v: E_lip(E_mot(v_i)), the lips' features.
        f_a: E_aud(a_i), the sound's features of the same moments.
        f_a_negative: Sounds of other moments, K for each pair of lips. Unverified: K.
        temperature: τ > 0; see `FORMULA_TEMPERATURE`.

    Returns:
        At least log(1 + K exp(−2/τ)); log(1 + K) by chance.
    """
    return contrastive_loss(f_v, f_a, f_a_negative, temperature=temperature)
