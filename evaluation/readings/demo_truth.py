"""The demo corpus's truth of a clip as readings, so that every metric of them can be taken against it.

Only angles, gaze and blink have the readings' unit. Mouth opening is in cm, smile and brow raise are shares:
correlations with them tell something, gains do not. Landmarks are not known, so no landmark distance is.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo_corpus.truth import (
    BLINK_COLUMNS,
    GAZE_COLUMNS,
    POSE_COLUMNS,
    filming_camera,
    pose_in_crop,
    read_truth,
)
from evaluation.readings.face import FaceReadings
from preprocessing.schema import LANDMARK_COUNT, ClipSource

SCORER: Final = "demo_truth"


def truth_path(video: Path) -> Path:
    """Where the truth of a source video lies, if it is the demo corpus's: beside it."""
    return video.with_suffix(".truth.parquet")


def true_readings(source: ClipSource, video: Path) -> FaceReadings | None:
    """The truth of a clip's frames.

    Args:
        source: the clip's; as many frames as it has crop transforms.
        video: the source video that the clip was cut from.

    Returns:
        Readings whose landmarks are NaN, the pose in the clip's crop camera; None where no truth lies beside
        the video.

    Raises:
        ValueError: the truth ends before the clip does.
    """
    path = truth_path(video)
    if not path.is_file():
        return None
    frames = len(source.crop_transforms)
    table = read_truth(path)
    part = table.slice(source.first_frame, frames)
    if len(part) < frames:
        end = source.first_frame + frames
        raise ValueError(f"{path} has {len(table)} frames, the clip ends with frame {end}")

    def columns(*names: str) -> NDArray[np.float32]:
        return np.stack([part[name].to_numpy().astype(np.float32) for name in names], axis=1)

    pose = pose_in_crop(columns(*POSE_COLUMNS), source.crop_transforms, filming_camera(table))
    return FaceReadings(
        found=np.ones(frames, np.bool_),
        landmarks_px=np.full((frames, LANDMARK_COUNT, 3), np.nan, np.float32),
        mouth_opening=columns("mouth_opening_cm")[:, 0],
        pose_rad=pose[:, :3].astype(np.float32),
        gaze_rad=columns(*GAZE_COLUMNS),
        blink=columns(*BLINK_COLUMNS),
        brow_raise=columns("brow_raise")[:, 0],
        smile=columns("smile")[:, 0],
    )
