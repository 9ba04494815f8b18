"""The released model's published outputs, measured like ours: the row to reach in the tables.

Each published video shows five 224 px panels side by side: appearance, generated, pose driver, expression
driver (a still), eye driver; 25 fps. The lips follow its sound, so there is no lip driver to look at. Picture
goes with picture; that these pictures lead their sound by 80 ms matters to lip sync alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.animation.media import read_pictures
from evaluation.controls import Control
from evaluation.metrics.control.control_matrix import ControlMatrix, FollowedVideo, control_follow
from evaluation.metrics.control.following_error import following_rows
from evaluation.readings.face import FaceReader, FaceReadings
from evaluation.records import OFFICIAL_PUBLISHED, MetricRecord

PANEL_SIDE_PX: Final = 224
PANELS: Final = 5
GENERATED_PANEL: Final = 1
DRIVER_PANELS: Final[dict[Control, int]] = {"pose": 2, "expression": 3, "eye": 4}
PICTURE_LEADS_SOUND_FRAMES: Final = 2  # 80 ms
FILES: Final = "official_panels_*.mp4"


@dataclass(frozen=True)
class OfficialFigures:
    """What the published outputs reach.

    Attributes:
        rows: following errors, correlations and `control_follow` cells of each video; none where skipped.
        matrix: the `control_follow` matrix over all videos; None where skipped.
        skipped_because: why nothing was measured; empty where it was.
    """

    rows: tuple[MetricRecord, ...]
    matrix: ControlMatrix | None
    skipped_because: str = ""


def official_figures(folder: Path | None, reader: FaceReader, *, task: str = "cross") -> OfficialFigures:
    """Measure all `official_panels_*.mp4` of a folder; what is an open eye, each panel says itself.

    Args:
        folder: with the published videos; None or absent is told, not raised.
        reader: reads every panel.
        task: of the rows; the drivers are other videos than the portrait's.

    Raises:
        ValueError: a video cannot be read or is not five panels wide.
    """
    paths = [] if folder is None else sorted(folder.glob(FILES))
    if not paths:
        where = "no folder given" if folder is None else f"none of {FILES} in the folder given"
        return OfficialFigures((), None, f"{where} for the released model's published outputs")
    videos = [_read(path, reader) for path in paths]
    matrix = control_follow(videos)
    rows = [
        figure
        for video in videos
        for figure in following_rows(
            video.output, video.drivers, task=task, method=OFFICIAL_PUBLISHED, video=video.name
        )
    ]
    rows += matrix.rows(task=task, method=OFFICIAL_PUBLISHED)
    return OfficialFigures(tuple(rows), matrix)


def _read(path: Path, reader: FaceReader) -> FollowedVideo[FaceReadings]:
    drivers: dict[Control, FaceReadings] = {
        control: reader.read(panel_frames(path, panel)) for control, panel in DRIVER_PANELS.items()
    }
    return FollowedVideo(reader.read(panel_frames(path, GENERATED_PANEL)), drivers, path.stem)


def panel_frames(path: Path, panel: int) -> Iterator[NDArray[np.uint8]]:
    """One panel's frames, [224, 224, 3]; 0 is the leftmost.

    Raises:
        ValueError: the video cannot be read, or is not five panels wide.
    """
    for frame in read_pictures(path):
        if frame.image.shape != (PANEL_SIDE_PX, PANELS * PANEL_SIDE_PX, 3):
            shape = list(frame.image.shape)
            raise ValueError(f"{path}: frames are {shape}, need five panels of {PANEL_SIDE_PX} px")
        left = panel * PANEL_SIDE_PX
        yield np.ascontiguousarray(frame.image[:, left : left + PANEL_SIDE_PX])
