"""Eye contrastive loss (stage 2, eye): an anchor with v1's eyes in v2's face must be closer to v1."""

from jaxtyping import Float
from torch import Tensor

from training.losses.codes.contrastive import FORMULA_TEMPERATURE, contrastive_loss


def eye_contrastive_loss(
    f_1: Float[Tensor, "B D"],
    f_2: Float[Tensor, "B D"],
    f_a: Float[Tensor, "B D"],
    *,
    temperature: float = FORMULA_TEMPERATURE,
) -> Float[Tensor, ""]:
    """``L_eye = −log[ exp S(f1, fa) / (exp S(f1, fa) + exp S(f2, fa)) ]`` (PD-FGC, stage 2).

    The mean over the batch, S divided by the temperature.

    Args:
        f_1: Eye features of v1, whose eyes the anchor shows: the positive.
        f_2: Eye features of v2, all of the anchor but the eyes: the negative.
        f_a: Eye features of the anchor.
        temperature: τ > 0; see `FORMULA_TEMPERATURE`.

    Returns:
        Between log(1 + exp(−2/τ)) and log(1 + exp(2/τ)); log 2 by chance. All three get gradients.
    """
    return contrastive_loss(f_a, f_1, f_2[:, None], temperature=temperature)
