"""The step `pose_labels`: 6-D head pose of every frame of a batch's clips, by the backend of the settings.

Backends are in `BACKENDS`; adding one is a file in `preprocessing.labellers` and a line there.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from preprocessing.clips.store import read_clips
from preprocessing.labellers import pose_deep3d, pose_face_landmarker, pose_mean_face
from preprocessing.labellers.clip_network import ClipNetwork, label_clips
from preprocessing.labellers.face_landmarker import BLENDSHAPES, FaceLandmarkerSettings
from preprocessing.labellers.pose_backend import LabelledPose
from preprocessing.labellers.weights import (
    LabellerWeights,
    WantedWeights,
    check_choice,
    labeller_name,
    weights_of,
    write_who_labelled,
)
from preprocessing.labels.tables import (
    BLENDSHAPES_SCHEMA,
    BLENDSHAPES_TABLE,
    COEFFICIENTS_SCHEMA,
    COEFFICIENTS_TABLE,
    POSE_NAMES,
    POSE_SCHEMA,
    write_labels,
)
from preprocessing.schema import Clip
from storage.publishing import BuildReport
from storage.settings import Settings

LABELLER: Final = f"{pose_mean_face.NAME} {pose_mean_face.VERSION}"
STEP: Final = "pose_labels"
BackendName = Literal["mean_face", "deep3d", "face_landmarker"]
PoseNetwork = ClipNetwork[Any, LabelledPose]


class PoseLabelSettings(Settings):
    """How the pose is labelled."""

    mean_face: pose_mean_face.PoseSettings = pose_mean_face.PoseSettings()
    backend: BackendName = Field(
        default="mean_face", description="Pose labeller; all but mean_face need pretrained weights"
    )
    weights: str = Field(
        default="",
        description="Pretrained weights of the backend: a name of `pdfgc weights`, or a path; empty: the "
        "backend's own name",
    )
    face_landmarker: FaceLandmarkerSettings = FaceLandmarkerSettings()

    @model_validator(mode="after")
    def _check_backend(self) -> "PoseLabelSettings":
        check_choice(STEP, self.backend, self.weights, "mean_face", BACKENDS)
        return self


@dataclass(frozen=True)
class PoseBackend:
    """One way to label a pose."""

    name: str
    version: str
    settings: Callable[[PoseLabelSettings], Mapping[str, Any]]  # those that belong to it
    open: Callable[[PoseLabelSettings, Path], AbstractContextManager[PoseNetwork]]  # of its weights' file
    weights: str  # set of the list that it runs unless told otherwise
    takes: str  # what the list calls the setting


BACKENDS: Final[Mapping[str, PoseBackend]] = {
    "deep3d": PoseBackend(
        pose_deep3d.NAME,
        pose_deep3d.VERSION,
        lambda _: {},
        lambda _, file: pose_deep3d.open_backend(file),
        "deep3d_facerecon",
        "deep3d_weights",
    ),
    "face_landmarker": PoseBackend(
        pose_face_landmarker.NAME,
        pose_face_landmarker.VERSION,
        lambda settings: {"face_landmarker": settings.face_landmarker},
        lambda settings, file: pose_face_landmarker.open_backend(file, settings.face_landmarker),
        "face_landmarker",
        "face_landmarker_weights",
    ),
}
"""Beside the default, `mean_face`, which needs landmarks alone."""


def code_version(settings: PoseLabelSettings) -> str:
    """Of the step: its own and its backend's."""
    backend = BACKENDS.get(settings.backend)
    return f"1+{LABELLER}" if backend is None else f"1+{labeller_name(backend.name, backend.version)}"


def recipe_settings(settings: PoseLabelSettings) -> dict[str, Any]:
    """Of all settings those that decide the labels; the default's are told without its name."""
    backend = BACKENDS.get(settings.backend)
    if backend is None:
        return {"mean_face": settings.mean_face}
    return {"backend": settings.backend, **backend.settings(settings)}


def wanted_weights(settings: PoseLabelSettings) -> WantedWeights | None:
    """What the backend runs; None for the default."""
    backend = BACKENDS.get(settings.backend)
    return None if backend is None else WantedWeights(settings.weights or backend.weights, backend.takes)


def make_pose_labels(
    clips: Path, settings: PoseLabelSettings, folder: Path, weights: LabellerWeights | None = None
) -> BuildReport:
    """Label the head pose.

    Args:
        clips: folder of the step `clips`.
        settings: of the labeller.
        folder: where the label table is written (`frame_labels.POSE_SCHEMA`), and beside it what else the
            backend tells: `coefficients.parquet` or `blendshapes.parquet`.
        weights: that the backend runs; the default wants none.

    Raises:
        ValueError: the backend wants weights and has none, or the file is not what it runs.
    """
    backend = BACKENDS.get(settings.backend)
    if backend is None:
        return _write(((clip, _by_mean_face(clip, settings)) for clip in read_clips(clips)), folder)
    file = weights_of(STEP, settings.backend, weights)
    with backend.open(settings, file.path) as network:
        report = _write(label_clips(read_clips(clips), network), folder)
    write_who_labelled(folder, {"pose": labeller_name(backend.name, backend.version, file)}, file)
    return report


def _by_mean_face(clip: Clip, settings: PoseLabelSettings) -> LabelledPose:
    fitted = pose_mean_face.label_pose(clip.landmarks_px, settings.mean_face)
    return LabelledPose(fitted.pose, fitted.residual_px)


def _write(labelled_clips: Iterable[tuple[Clip, LabelledPose]], folder: Path) -> BuildReport:
    poses: dict[str, Mapping[str, NDArray[np.generic]]] = {}
    coefficients: dict[str, Mapping[str, NDArray[np.generic]]] = {}
    blendshapes: dict[str, Mapping[str, NDArray[np.generic]]] = {}
    frames, bridged = 0, 0
    for clip, labelled in labelled_clips:
        columns = {name: labelled.pose[:, number] for number, name in enumerate(POSE_NAMES)}
        poses[clip.key] = columns | {"residual_px": labelled.residual_px.astype(np.float32)}
        if labelled.coefficients is not None:
            coefficients[clip.key] = {"coefficients": labelled.coefficients}
        if labelled.blendshapes is not None:
            blendshapes[clip.key] = dict(zip(BLENDSHAPES, labelled.blendshapes.T, strict=True))
        frames += clip.frame_count
        bridged += labelled.frames_bridged
    write_labels(folder, POSE_SCHEMA, poses)
    if coefficients:
        write_labels(folder, COEFFICIENTS_SCHEMA, coefficients, COEFFICIENTS_TABLE)
    if blendshapes:
        write_labels(folder, BLENDSHAPES_SCHEMA, blendshapes, BLENDSHAPES_TABLE)
    counts = {"clips": len(poses), "frames": frames} | ({"frames_bridged": bridged} if bridged else {})
    return BuildReport(counts=counts, refusals={})
