"""The generator's style vector: five concatenated codes, in the order of the released networks.

Shape letters, here and in every file of this package:
    B  samples            C  channels            H, W  rows, columns
    T  time steps         F  mel bands           D     width of a feature or code
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class StyleWidths:
    """Width of each code; the defaults are the released networks' (2590 in total)."""

    appearance: int = 2048
    lip: int = 500
    expression: int = 30
    eye: int = 6
    pose: int = 6

    @property
    def total(self) -> int:
        """Width of the vector."""
        return sum(self.as_tuple())

    def as_tuple(self) -> tuple[int, ...]:
        """The widths in the vector's order."""
        return (self.appearance, self.lip, self.expression, self.eye, self.pose)


@dataclass(frozen=True)
class StyleVector:
    """The five codes of a batch, each [B, D], of the same dtype and device.

    Zeroing a code disables its control. In the released networks' eye code, dimensions 2 and 3 carry gaze,
    and 0, 1, 4 and 5 blinks.

    Raises:
        ValueError: a code is not [B, D], or the codes differ in B.
    """

    appearance: Tensor
    lip: Tensor
    expression: Tensor
    eye: Tensor
    pose: Tensor

    def __post_init__(self) -> None:
        shapes = {name: tuple(code.shape) for name, code in self.codes().items()}
        if (
            any(len(shape) != 2 for shape in shapes.values())
            or len({shape[0] for shape in shapes.values()}) > 1
        ):
            raise ValueError(f"every code must be [B, D] with the same B, got {shapes}")

    def codes(self) -> dict[str, Tensor]:
        """The codes by name, in the vector's order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to_vector(self) -> Tensor:
        """The concatenated codes: [B, sum of widths]."""
        return torch.cat(list(self.codes().values()), dim=1)

    @classmethod
    def from_vector(cls, vector: Tensor, widths: StyleWidths) -> "StyleVector":
        """Split a vector [B, widths.total] into its codes (views of it).

        Raises:
            ValueError: the vector is not [B, widths.total].
        """
        if vector.ndim != 2 or vector.shape[1] != widths.total:
            raise ValueError(f"a style vector must be [B, {widths.total}], got {tuple(vector.shape)}")
        return cls(*torch.split(vector, list(widths.as_tuple()), dim=1))
