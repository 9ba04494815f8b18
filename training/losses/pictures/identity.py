"""Identity loss (stage 1): the training identities can be told from the appearance code."""

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from training.losses.distances import full_precision


def identity_loss(logits: Float[Tensor, "B C"], identity: Int64[Tensor, " B"]) -> Float[Tensor, ""]:
    """``L_id = −log softmax(W f_app + b)_identity``, the mean over the batch.

    Unverified: found unused in the official code, with C = 5995; the paper does not name it.

    Args:
        logits: of C training identities, of a linear classifier of the appearance codes.
        identity: numbers from 0 to C - 1.

    Returns:
        At least 0; log C for equal logits.
    """
    return functional.cross_entropy(full_precision(logits), identity)
