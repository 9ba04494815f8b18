"""The step `pose_labels`: 6-D head pose of every frame of a batch's clips."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from preprocessing.clip_store import read_clips
from preprocessing.frame_labels import POSE_NAMES, POSE_SCHEMA, write_labels
from preprocessing.labellers import pose_mean_face
from storage.publishing import BuildReport

LABELLER: Final = f"{pose_mean_face.NAME} {pose_mean_face.VERSION}"
CODE_VERSION: Final = f"1+{LABELLER}"


@dataclass(frozen=True)
class PoseLabelSettings:
    """How the pose is labelled."""

    mean_face: pose_mean_face.PoseSettings = field(default_factory=pose_mean_face.PoseSettings)


def make_pose_labels(clips: Path, settings: PoseLabelSettings, folder: Path) -> BuildReport:
    """Label the head pose.

    Args:
        clips: folder of the step `clips`.
        settings: of the labeller.
        folder: where the label table is written (`frame_labels.POSE_SCHEMA`).
    """
    labels = {}
    for clip in read_clips(clips):
        fitted = pose_mean_face.label_pose(clip.landmarks_px, settings.mean_face)
        columns = {name: fitted.pose[:, number] for number, name in enumerate(POSE_NAMES)}
        labels[clip.key] = columns | {"residual_px": fitted.residual_px.astype(np.float32)}
    write_labels(folder, POSE_SCHEMA, labels)
    frames = sum(len(columns["residual_px"]) for columns in labels.values())
    return BuildReport(counts={"clips": len(labels), "frames": frames}, refusals={})
