"""The step `gaze_labels`: gaze and blink of every frame of a batch's clips.

What counts as open and as shut is told per person, from all of the person's clips in the batch.

The gaze is told by the backend of the settings, blink always by the lids' gap. Where another backend than
the irises tells the gaze, theirs is kept in `iris_labels.parquet`: a swap of eyes is measured by irises, and
must be compared with what irises told of the eyes' giver.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from preprocessing.clips.store import read_clips
from preprocessing.labellers import blink_lids, gaze_iris, gaze_l2cs, pose_mean_face
from preprocessing.labellers.blink_lids import OpennessLevels
from preprocessing.labellers.clip_network import ClipNetwork, label_clips
from preprocessing.labellers.weights import (
    LabellerWeights,
    WantedWeights,
    check_choice,
    labeller_name,
    weights_of,
    write_who_labelled,
)
from preprocessing.labels.tables import GAZE_SCHEMA, POSE_NAMES, read_labels, write_labels
from storage.publishing import BuildReport
from storage.settings import Settings

LABELLER: Final = f"{gaze_iris.NAME} {gaze_iris.VERSION}"
BLINK_LABELLER: Final = f"{blink_lids.NAME} {blink_lids.VERSION}"
STEP: Final = "gaze_labels"
LEVELS_NAME: Final = "openness_levels.json"
IRIS_TABLE: Final = "iris_labels.parquet"
BackendName = Literal["iris", "l2cs"]
GazeNetwork = ClipNetwork[Any, NDArray[np.float32]]
"""A clip to gaze [T, 2] as its network tells it, however shut its eyes."""


class GazeLabelSettings(Settings):
    """How gaze and blink are labelled."""

    iris: gaze_iris.GazeSettings = gaze_iris.GazeSettings()
    blink: blink_lids.BlinkSettings = blink_lids.BlinkSettings()
    backend: BackendName = Field(default="iris", description="Gaze labeller; l2cs needs pretrained weights")
    weights: str = Field(
        default="",
        description="Pretrained weights of the backend: a name of `pdfgc weights`, or a path; empty: the "
        "backend's own name",
    )

    @model_validator(mode="after")
    def _check_backend(self) -> "GazeLabelSettings":
        check_choice(STEP, self.backend, self.weights, "iris", BACKENDS)
        return self


@dataclass(frozen=True)
class GazeBackend:
    """One way to label a gaze."""

    name: str
    version: str
    open: Callable[[Path], AbstractContextManager[GazeNetwork]]  # of its weights' file
    in_head: Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float64]]
    """What the network tells, and the pose [T, 6], to gaze [T, 2] in the head."""
    weights: str  # set of the list that it runs unless told otherwise
    takes: str  # what the list calls the setting


BACKENDS: Final[Mapping[str, GazeBackend]] = {
    "l2cs": GazeBackend(
        gaze_l2cs.NAME,
        gaze_l2cs.VERSION,
        gaze_l2cs.open_backend,
        gaze_l2cs.gaze_in_head,
        "l2cs_gaze360",
        "l2cs_weights",
    ),
}
"""Beside the default, `iris`, which needs landmarks alone."""


def code_version(settings: GazeLabelSettings) -> str:
    """Of the step: its own and its labellers'."""
    backend = BACKENDS.get(settings.backend)
    told = "" if backend is None else f"+{labeller_name(backend.name, backend.version)}"
    return f"1+{LABELLER}+{BLINK_LABELLER}{told}"


def recipe_settings(settings: GazeLabelSettings) -> dict[str, Any]:
    """Of all settings those that decide the labels; the default's are told without its name."""
    chosen = {"backend": settings.backend} if settings.backend in BACKENDS else {}
    return {"iris": settings.iris, "blink": settings.blink, **chosen}


def wanted_weights(settings: GazeLabelSettings) -> WantedWeights | None:
    """What the backend runs; None for the default."""
    backend = BACKENDS.get(settings.backend)
    return None if backend is None else WantedWeights(settings.weights or backend.weights, backend.takes)


def make_gaze_labels(
    clips: Path,
    pose_labels: Path,
    settings: GazeLabelSettings,
    folder: Path,
    weights: LabellerWeights | None = None,
) -> BuildReport:
    """Label gaze and blink.

    Args:
        clips: folder of the step `clips`.
        pose_labels: folder of the step `pose_labels`: the gaze is told in head coordinates.
        settings: of the labellers.
        folder: where the label table (`frame_labels.GAZE_SCHEMA`) and the persons' levels are written.
        weights: that the backend runs; the default wants none.

    Raises:
        ValueError: the backend wants weights and has none, or the file is not what it runs.
    """
    poses = read_labels(pose_labels, POSE_NAMES)
    backend = BACKENDS.get(settings.backend)
    if backend is None:
        labels, report = _label_by_irises(clips, poses, settings, folder)
        write_labels(folder, GAZE_SCHEMA, labels)
        return report
    file = weights_of(STEP, settings.backend, weights)
    with backend.open(file.path) as network:
        labels, report = _label_by_irises(clips, poses, settings, folder)
        write_labels(folder, GAZE_SCHEMA, labels, IRIS_TABLE)
        reach_rad = settings.iris.reach_rad
        for clip, seen in label_clips(read_clips(clips), network):
            columns = labels[clip.key]
            gaze = np.clip(backend.in_head(seen, poses[clip.key]), -reach_rad, reach_rad)
            told = gaze_iris.bridge_gaze(gaze, np.asarray(columns["valid"], np.bool_)).astype(np.float32)
            labels[clip.key] = {**columns, "pitch_rad": told[:, 0], "yaw_rad": told[:, 1]}
    write_labels(folder, GAZE_SCHEMA, labels)
    write_who_labelled(folder, {"gaze": labeller_name(backend.name, backend.version, file)}, file)
    return report


def gaze_by_irises(folder: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
    """As `frame_labels.read_labels`, of the irises' gaze whoever labelled."""
    if (folder / IRIS_TABLE).is_file():
        return read_labels(folder, names, IRIS_TABLE)
    return read_labels(folder, names)


def _label_by_irises(
    clips: Path, poses: Mapping[str, NDArray[np.float32]], settings: GazeLabelSettings, folder: Path
) -> tuple[dict[str, dict[str, NDArray[Any]]], BuildReport]:
    """The table's columns by clip; writes the persons' levels."""
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
    labels: dict[str, dict[str, NDArray[Any]]] = {}
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
    _write_levels(folder, levels)
    frames = sum(len(points) for points in landmarks.values())
    bridged = sum(int((~columns["valid"]).sum()) for columns in labels.values())
    counts = {"clips": len(labels), "frames": frames, "frames_bridged": bridged, "persons": len(levels)}
    return labels, BuildReport(counts=counts, refusals={})


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
