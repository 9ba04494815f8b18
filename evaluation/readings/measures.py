"""Every measure of every reader, and the control that it belongs to."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from evaluation.controls import Control
from evaluation.readings.blendshapes import BLENDSHAPE_MEASURES
from evaluation.readings.face import MEASURES

ALL_MEASURES: Final[Mapping[str, Control]] = MappingProxyType({**MEASURES, **BLENDSHAPE_MEASURES})
