"""Readings of any reader, and every measure with the control to which it belongs."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evaluation.controls import Control
from evaluation.readings.blendshapes import BLENDSHAPE_MEASURES
from evaluation.readings.face import MEASURES

ALL_MEASURES: Final[Mapping[str, Control]] = MappingProxyType({**MEASURES, **BLENDSHAPE_MEASURES})

_Own = TypeVar("_Own")  # not typing.Self, which beartype cannot check of single methods


@runtime_checkable
class Readings(Protocol):
    """What a face does over T frames, as series of measures."""

    @property
    def measures(self) -> Mapping[str, Control]:
        """Measure -> the control to which it belongs."""
        ...

    @property
    def found(self) -> NDArray[np.bool_]:
        """[T] whether a face was found."""
        ...

    def __len__(self) -> int: ...

    def measure(self, name: str) -> NDArray[np.float64]:
        """[T] one of `measures`, NaN in frames where it was not read."""
        ...

    def at(self: _Own, indices: NDArray[np.int64]) -> _Own:
        """The readings of some frames, in that order."""
        ...


AnyReadings = TypeVar("AnyReadings", bound=Readings)
