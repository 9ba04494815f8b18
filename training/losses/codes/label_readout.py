"""Label readout (ours): some dimensions of a code follow labels.

A contrastive loss is content with whatever tells its positives from its negatives, and complementary learning
with whatever lowers the picture's error: neither has to tell a weak motion, such as a glance up or down.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor


def label_readout_loss(
    codes: Float[Tensor, "B T L"], labels: Float[Tensor, "B T L"], scales: Sequence[float]
) -> Float[Tensor, ""]:
    """``mean |(c − c̄) − (l − l̄) / scale|``, the means over the T frames of each row.

    Without the means, the codes would have to tell how a person's eyes or brows are at rest.

    Args:
        codes: dimensions of the codes of T frames of one clip.
        labels: their labels.
        scales: L, change of each label that a change of the code by 1 stands for.

    Raises:
        ValueError: a row has one frame, which is its own mean.
    """
    if codes.shape[1] < 2:
        raise ValueError(f"a readout compares frames of a clip: need at least 2, got {codes.shape[1]}")
    wanted = labels / labels.new_tensor(scales)
    return (
        ((codes - codes.mean(dim=1, keepdim=True)) - (wanted - wanted.mean(dim=1, keepdim=True))).abs().mean()
    )
