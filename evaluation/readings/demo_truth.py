"""The demo corpus's ground truth of clips as readings, so that every metric can be measured against it.

Angles, gaze and blink have the readings' units. Mouth opening is in cm, smile and brow raise are shares:
correlations with them are meaningful, gains are not. Landmarks are unknown.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from demo_corpus.truth import (
    BLINK_COLUMNS,
    GAZE_COLUMNS,
    POSE_COLUMNS,
    filming_camera,
    pose_in_crop,
    read_truth,
)
from evaluation.generation.driving_clips import ClipReader
from evaluation.generation.files import GeneratedVideos
from evaluation.readings.face import FaceReadings
from preprocessing.schema import LANDMARK_COUNT, ClipSource
from preprocessing.sources.stored_catalog import source_paths
from training.data.index import open_current

SCORER: Final = "demo_truth"


def sources_with_truth(root: UPath, generated: GeneratedVideos) -> dict[str, Path]:
    """Clip key -> source video, for clips of the demo corpus; empty if any clip has no ground truth.

    Sources that moved, or a catalog of another machine, have none; that is no error.
    """
    paths = source_paths(root)
    sources = {key: paths.get(facts.video_id) for key, facts in generated.facts.clips.items()}
    known = {key: path for key, path in sources.items() if path is not None and truth_path(path).is_file()}
    return known if len(known) == len(sources) else {}


def read_truth_of_clips(
    root: UPath, generated: GeneratedVideos, sources: Mapping[str, Path]
) -> dict[str, FaceReadings]:
    """Ground truth by clip key.

    Args:
        root: With the data set of the clips, which says how each frame was cropped.
        generated: The videos.
        sources: Of `sources_with_truth`.

    Raises:
        ValueError: a ground truth ends before its clip.
    """
    reader = ClipReader(open_current(root, generated.plan.split))
    truths = {key: true_readings(reader.read(key).source, path) for key, path in sources.items()}
    return {key: truth for key, truth in truths.items() if truth is not None}


def truth_path(video: Path) -> Path:
    """Where the ground truth of a source video would be: beside it."""
    return video.with_suffix(".truth.parquet")


def true_readings(source: ClipSource, video: Path) -> FaceReadings | None:
    """The ground truth of a clip's frames.

    Args:
        source: Of the clip; it has one crop transform for each frame.
        video: The source video from which the clip was cut.

    Returns:
        Readings with NaN landmarks and the pose in the clip's crop camera; None if the video has no ground
        truth.

    Raises:
        ValueError: the ground truth ends before the clip does.
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
