"""The step `gaze_labels`: gaze and blink of every frame of a batch's clips.

What counts as open and as shut is told per person, from all of the person's clips in the batch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from preprocessing.clip_store import read_clips
from preprocessing.frame_labels import GAZE_SCHEMA, POSE_NAMES, read_labels, write_labels
from preprocessing.labellers import blink_lids, gaze_iris, pose_mean_face
from preprocessing.labellers.blink_lids import OpennessLevels
from storage.publishing import BuildReport

LABELLER: Final = f"{gaze_iris.NAME} {gaze_iris.VERSION}"
BLINK_LABELLER: Final = f"{blink_lids.NAME} {blink_lids.VERSION}"
CODE_VERSION: Final = f"1+{LABELLER}+{BLINK_LABELLER}"
LEVELS_NAME: Final = "openness_levels.json"


@dataclass(frozen=True)
class GazeLabelSettings:
    """How gaze and blink are labelled."""

    iris: gaze_iris.GazeSettings = field(default_factory=gaze_iris.GazeSettings)
    blink: blink_lids.BlinkSettings = field(default_factory=blink_lids.BlinkSettings)


def make_gaze_labels(
    clips: Path, pose_labels: Path, settings: GazeLabelSettings, folder: Path
) -> BuildReport:
    """Label gaze and blink.

    Args:
        clips: folder of the step `clips`.
        pose_labels: folder of the step `pose_labels`: the gaze is told in head coordinates.
        settings: of the labellers.
        folder: where the label table (`frame_labels.GAZE_SCHEMA`) and the persons' levels are written.
    """
    poses = read_labels(pose_labels, POSE_NAMES)
    landmarks: dict[str, NDArray[np.float32]] = {}
    openness: dict[str, list[NDArray[np.float32]]] = {}
    identities: dict[str, str] = {}
    for clip in read_clips(clips):
        landmarks[clip.key] = clip.landmarks_px
        identities[clip.key] = clip.identity
        openness.setdefault(clip.identity, []).append(blink_lids.measure_openness(clip.landmarks_px))
    levels = {
        identity: blink_lids.person_openness_levels(measured, settings.blink)
        for identity, measured in openness.items()
    }
    labels = {}
    for key, points in landmarks.items():
        blink = blink_lids.label_blink(points, levels[identities[key]])
        gaze = gaze_iris.label_gaze(points, poses[key], blink, settings.iris)
        labels[key] = {
            "pitch_rad": gaze.gaze[:, 0],
            "yaw_rad": gaze.gaze[:, 1],
            "blink_left": blink[:, 0],
            "blink_right": blink[:, 1],
            "valid": gaze.valid,
        }
    write_labels(folder, GAZE_SCHEMA, labels)
    _write_levels(folder, levels)
    frames = sum(len(points) for points in landmarks.values())
    bridged = sum(int((~columns["valid"]).sum()) for columns in labels.values())
    counts = {"clips": len(labels), "frames": frames, "frames_bridged": bridged, "persons": len(levels)}
    return BuildReport(counts=counts, refusals={})


def label_eyes(
    landmarks_px: NDArray[np.float32], levels: OpennessLevels
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gaze [T, 2] and blink [T, 2] of landmarks [T, 478, 3] alone, with default settings."""
    pose = pose_mean_face.label_pose(landmarks_px, pose_mean_face.PoseSettings()).pose
    blink = blink_lids.label_blink(landmarks_px, levels)
    return gaze_iris.label_gaze(landmarks_px, pose, blink, gaze_iris.GazeSettings()).gaze, blink


def _write_levels(folder: Path, levels: Mapping[str, OpennessLevels]) -> None:
    value = {name: {"open": list(level.open), "shut": list(level.shut)} for name, level in levels.items()}
    (folder / LEVELS_NAME).write_text(json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False))


def read_levels(folder: Path) -> dict[str, OpennessLevels]:
    """What counts as open and as shut, by identity."""
    value = json.loads((folder / LEVELS_NAME).read_text())
    return {
        name: OpennessLevels(np.array(level["open"]), np.array(level["shut"]))
        for name, level in value.items()
    }
