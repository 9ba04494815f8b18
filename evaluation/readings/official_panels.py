"""The released model's published outputs, measured like ours for comparison.

Each published video shows five 224 px panels side by side at 25 fps: appearance, generated, pose driver,
expression driver (a still), eye driver. The lips follow its sound, so there is no video of a lip driver. The
pictures lead their sound by 80 ms, which matters to lip sync alone.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.animation.media import read_pictures
from evaluation.config import EvaluationConfig
from evaluation.controls import Control
from evaluation.metrics.control.matrix import FollowedVideo
from evaluation.readings.face import FaceReader, FaceReadings

PANEL_SIDE_PX: Final = 224
PANELS: Final = 5
GENERATED_PANEL: Final = 1
DRIVER_PANELS: Final[dict[Control, int]] = {"pose": 2, "expression": 3, "eye": 4}
FILES: Final = "official_panels_*.mp4"
OFFICIAL_VARIABLE: Final = "PDFGC_OFFICIAL_PANELS"


def official_folder(config: EvaluationConfig) -> Path | None:
    """Folder of the published panel videos; None if neither the setting nor the variable is set."""
    folder = config.official_panels or os.environ.get(OFFICIAL_VARIABLE, "")
    return Path(folder).expanduser() if folder else None


def panel_files(folder: Path | None) -> list[Path]:
    """The panel videos of a folder; none without a folder.

    Raises:
        ValueError: the folder holds none.
    """
    if folder is None:
        return []
    files = sorted(folder.glob(FILES))
    if not files:
        raise ValueError(f"{folder} holds none of the released model's published panel videos ({FILES})")
    return files


def read_official_video(path: Path, reader: FaceReader) -> FollowedVideo[FaceReadings]:
    """Readings of the generated panel and of its drivers.

    What counts as an open eye is taken from each panel itself.

    Raises:
        ValueError: the video cannot be read or is not five panels wide.
    """
    drivers: dict[Control, FaceReadings] = {
        control: reader.read(panel_frames(path, panel)) for control, panel in DRIVER_PANELS.items()
    }
    return FollowedVideo(reader.read(panel_frames(path, GENERATED_PANEL)), drivers, path.stem)


def panel_frames(path: Path, panel: int) -> Iterator[NDArray[np.uint8]]:
    """Frames [224, 224, 3] of one panel, 0 the leftmost.

    Raises:
        ValueError: the video cannot be read, or is not five panels wide.
    """
    for frame in read_pictures(path):
        if frame.image.shape != (PANEL_SIDE_PX, PANELS * PANEL_SIDE_PX, 3):
            shape = list(frame.image.shape)
            raise ValueError(f"{path}: frames are {shape}, need five panels of {PANEL_SIDE_PX} px")
        left = panel * PANEL_SIDE_PX
        yield np.ascontiguousarray(frame.image[:, left : left + PANEL_SIDE_PX])
