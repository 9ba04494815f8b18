"""Control consistency (stage 3, ours): every control follows its own driver.

In self-reconstruction all codes come from one frame, so a generator may read the mouth from the pose, or
half a nod from the portrait, and lose nothing. Here each control's code comes from another clip: no picture
shows the result, but each reading of the generated face must be that of the clip that drives it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from torch import Tensor

from training.losses.distances import cosine_similarity, mean_absolute_difference

SCALES: Final[Mapping[str, float]] = MappingProxyType({"pose": 0.2, "mouth": 0.15, "gaze": 0.1, "lids": 0.1})
"""Change of each reading that counts as 1: rad; gap of the lips over the distance of the eyes' outer corners;
eye widths; eye widths. About as much as a lively face moves."""


def control_consistency_loss(generated: Mapping[str, Tensor], drivers: Mapping[str, Tensor]) -> Tensor:
    """``Σ_c mean |r_c(I) − r_c(driver of c)| / scale_c`` over pose, mouth, gaze and lids.

    Args:
        generated: readings r_c [B, D_c] of the generated pictures, by the names of `SCALES`.
        drivers: of the frames whose codes drive each control; they get no gradient.

    Returns:
        At least 0, a scalar.

    Raises:
        ValueError: a reading is missing, unknown or of another shape.
    """
    for name, readings in (("generated", generated), ("drivers", drivers)):
        if readings.keys() != SCALES.keys():
            raise ValueError(f"{name} needs readings {', '.join(SCALES)}, got {', '.join(readings)}")
    terms = [
        mean_absolute_difference(generated[name], drivers[name].detach()) / scale
        for name, scale in SCALES.items()
    ]
    return sum(terms[1:], terms[0])


@dataclass(frozen=True)
class CodesRead:
    """pose [B, 6] and eye [B, 6] codes, and lip features [B, D] (of a picture, or of sound)."""

    pose: Tensor
    eye: Tensor
    lip: Tensor


def code_consistency_loss(generated: CodesRead, drivers: CodesRead) -> Tensor:
    """``mean |pose − pose'| + (1 − S(eye, eye')) + (1 − S(lip, lip'))``, S the cosine similarity.

    The pose code has units; eye codes and lip features are trained by their direction alone.

    Args:
        generated: codes of the generated pictures, read by the frozen encoders.
        drivers: codes that drive them; no gradient.
    """
    eye = cosine_similarity(generated.eye, drivers.eye.detach())
    lip = cosine_similarity(generated.lip, drivers.lip.detach())
    pose = mean_absolute_difference(generated.pose, drivers.pose.detach())
    return pose + (1 - eye).mean() + (1 - lip).mean()
