"""What a table of control asks of readings, whoever read them."""

from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evaluation.controls import Control

_Own = TypeVar("_Own")  # not typing.Self, which beartype cannot check of single methods


@runtime_checkable
class Readings(Protocol):
    """What a face does over T frames, as series of measures."""

    @property
    def measures(self) -> Mapping[str, Control]:
        """Measure -> the control that it belongs to."""
        ...

    @property
    def found(self) -> NDArray[np.bool_]:
        """[T] whether there is a face."""
        ...

    def __len__(self) -> int: ...

    def measure(self, name: str) -> NDArray[np.float64]:
        """[T] one of `measures`, NaN where it was not read."""
        ...

    def at(self: _Own, places: NDArray[np.int64]) -> _Own:
        """The readings of some frames, in that order."""
        ...


AnyReadings = TypeVar("AnyReadings", bound=Readings)
