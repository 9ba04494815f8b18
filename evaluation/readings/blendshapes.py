"""Read blendshapes, 0 to 1, from the frames of a video with MediaPipe's FaceLandmarker.

A second reader of expression besides `evaluation.readings.face`, with pretrained weights: every frame on its
own at 224 px. Correlations with what was rendered on the demo corpus (96 clips, their means removed): smile
.55 with the true smile and .22 with the mouth opening; raised brows .57 with the true ones and -.21 with
pitch; jaw .73 with the true mouth opening and .27 with pitch. The face reader's smile is as good (.58), its
brows are better (.86). Frowning and puckering are read by blendshapes only; no rendered face shows them.

MediaPipe is imported when a `BlendshapeReader` is built.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.controls import Control
from evaluation.readings.face import at_crop_side
from preprocessing.labellers.face_landmarker import BLENDSHAPES, FaceLandmarker

BLENDSHAPE_MEASURES: Final[Mapping[str, Control]] = MappingProxyType(
    {
        "blendshape_jaw_open": "lip",
        "blendshape_smile": "expression",
        "blendshape_brow_raise": "expression",
        "blendshape_brow_down": "expression",
    }
)
"""Measure -> the control to which it belongs."""
_PARTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "blendshape_jaw_open": ("jawOpen",),
        "blendshape_smile": ("mouthSmileLeft", "mouthSmileRight"),
        # browInnerUp is left out: on the demo corpus it goes with the true brows at .48, with pitch at -.46.
        "blendshape_brow_raise": ("browOuterUpLeft", "browOuterUpRight"),
        "blendshape_brow_down": ("browDownLeft", "browDownRight"),
    }
)


@dataclass(frozen=True)
class BlendshapeReadings:
    """Blendshapes of T frames.

    Attributes:
        blendshapes: [T, 52] 0 to 1, in `BLENDSHAPES`' order; NaN in frames without a face.
    """

    blendshapes: NDArray[np.float32] = field(repr=False)

    def __post_init__(self) -> None:
        if self.blendshapes.shape != (len(self.blendshapes), len(BLENDSHAPES)):
            raise ValueError(
                f"blendshapes is {list(self.blendshapes.shape)}, need "
                f"{[len(self.blendshapes), len(BLENDSHAPES)]}"
            )

    @property
    def measures(self) -> Mapping[str, Control]:
        """`BLENDSHAPE_MEASURES`."""
        return BLENDSHAPE_MEASURES

    @property
    def found(self) -> NDArray[np.bool_]:
        """[T] whether a face was found."""
        return np.isfinite(self.blendshapes).all(axis=1)

    def __len__(self) -> int:
        return len(self.blendshapes)

    def measure(self, name: str) -> NDArray[np.float64]:
        """[T] one of `BLENDSHAPE_MEASURES`, 0 to 1, mean of both sides; NaN where it was not read.

        Raises:
            ValueError: there is no such measure.
        """
        if name not in _PARTS:
            raise ValueError(f"no measure {name!r}; there are {', '.join(BLENDSHAPE_MEASURES)}")
        columns = [BLENDSHAPES.index(part) for part in _PARTS[name]]
        return self.blendshapes[:, columns].astype(np.float64).mean(axis=1)

    def at(self, indices: NDArray[np.int64]) -> "BlendshapeReadings":
        """The readings of some frames."""
        return BlendshapeReadings(self.blendshapes[indices])


class BlendshapeReader:
    """Reads one video after the other; a context manager that closes the model.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a task file of the FaceLandmarker.
    """

    def __init__(self, model: Path) -> None:
        self._landmarker = FaceLandmarker(model)

    def read(self, frames: Iterable[NDArray[np.uint8]]) -> BlendshapeReadings:
        """Read one video.

        Args:
            frames: [S, S, 3] uint8 RGB each, of any side S; other sides than 224 are resized, bicubic.

        Raises:
            ValueError: a frame is not a square RGB picture.
        """
        return BlendshapeReadings(self._landmarker.label(map(at_crop_side, frames)).blendshapes)

    def close(self) -> None:
        """Close the model."""
        self._landmarker.close()

    def __enter__(self) -> "BlendshapeReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
