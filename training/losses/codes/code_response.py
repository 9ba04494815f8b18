"""Code response (stage 3, ours): a face moves as far as a code's readout says.

A label readout (`label_readout`) makes dimensions of a code follow labels; it does not make the generator
show them. Here the code changes between two pictures of one portrait, and the change of what is read in them
must be the change of the code. A difference leaves out how a person's eyes or brows are at rest.
"""

from jaxtyping import Float
from torch import Tensor


def code_response_loss(
    read_change: Float[Tensor, "B R"], code_change: Float[Tensor, "B R"]
) -> Float[Tensor, ""]:
    """``mean |Δr − Δc|`` over rows and readout dimensions.

    Args:
        read_change: of the readings in two generated pictures, in units of the code.
        code_change: of the codes that generated them; no gradient, or the codes would follow the pictures.
    """
    return (read_change - code_change.detach()).abs().mean()
