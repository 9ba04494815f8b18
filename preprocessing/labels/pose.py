"""The step `pose_labels`: 6-D head pose of every frame of a batch's clips, by the selected backend."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.clips.store import read_clips
from preprocessing.labellers import face_landmarker, pose_deep3d, pose_mean_face
from preprocessing.labellers.backend import (
    Backend,
    BackendSettings,
    ClipLabeller,
    label_clips,
    write_labellers,
)
from preprocessing.labellers.face_landmarker import BLENDSHAPES, FaceLandmarkerSettings
from preprocessing.labellers.failed_clips import FailedClips
from preprocessing.labellers.pose_mean_face import PoseLabels
from preprocessing.labels.tables import (
    BLENDSHAPES_SCHEMA,
    BLENDSHAPES_TABLE,
    COEFFICIENTS_SCHEMA,
    COEFFICIENTS_TABLE,
    POSE_NAMES,
    POSE_SCHEMA,
    write_labels,
)
from preprocessing.orchestration.step import Step, StepRun
from preprocessing.schema import Clip
from storage.publishing import BuildReport
from weights.resolve import ResolvedWeights

BACKENDS: Final[Mapping[str, Backend[ClipLabeller[Clip, Any, PoseLabels]]]] = {
    "mean_face": pose_mean_face.BACKEND,
    "deep3d": pose_deep3d.BACKEND,
    "face_landmarker": face_landmarker.BACKEND,
}


class PoseLabelSettings(BackendSettings):
    """How the pose is labelled."""

    backends: ClassVar = BACKENDS

    backend: str = Field(
        default="mean_face", description="Head pose labeller", json_schema_extra={"enum": [*BACKENDS]}
    )
    mean_face: pose_mean_face.PoseSettings = pose_mean_face.PoseSettings()
    face_landmarker: FaceLandmarkerSettings = FaceLandmarkerSettings()


def make_pose_labels(
    clips: Path, settings: PoseLabelSettings, folder: Path, weights: ResolvedWeights | None = None
) -> BuildReport:
    """Label the head pose.

    Args:
        clips: folder of the step `clips`.
        settings: of the step.
        folder: where the label table (`tables.POSE_SCHEMA`) is written, and, if the backend has them,
            `coefficients.parquet` or `blendshapes.parquet`.
        weights: of the backend, where it needs any.

    Raises:
        FileNotFoundError: the weights do not exist.
        ValueError: the backend needs weights and got none, or the file is not what it runs.
    """
    backend = BACKENDS[settings.backend]
    with closing(backend.open(settings, weights and weights.path)) as labeller:
        failed = FailedClips("Labelling the pose")
        labelled = label_clips(read_clips(clips), labeller, lambda clip, error: failed.add(clip.key, error))
        counts = _write(labelled, folder)
    write_labellers(folder, {"pose": backend.labeller_name(weights)}, weights)
    return BuildReport(counts=counts, refusals=failed.finish(folder, int(counts["clips"])))


def _write(labelled_clips: Iterable[tuple[Clip, PoseLabels]], folder: Path) -> dict[str, int | float]:
    poses: dict[str, Mapping[str, NDArray[np.generic]]] = {}
    coefficients: dict[str, Mapping[str, NDArray[np.generic]]] = {}
    blendshapes: dict[str, Mapping[str, NDArray[np.generic]]] = {}
    frames, bridged = 0, 0
    for clip, labels in labelled_clips:
        columns = {name: labels.pose[:, index] for index, name in enumerate(POSE_NAMES)}
        poses[clip.key] = columns | {"residual_px": labels.residual_px.astype(np.float32)}
        if labels.coefficients is not None:
            coefficients[clip.key] = {"coefficients": labels.coefficients}
        if labels.blendshapes is not None:
            blendshapes[clip.key] = dict(zip(BLENDSHAPES, labels.blendshapes.T, strict=True))
        frames += clip.frame_count
        bridged += labels.frames_bridged
    write_labels(folder, POSE_SCHEMA, poses)
    if coefficients:
        write_labels(folder, COEFFICIENTS_SCHEMA, coefficients, COEFFICIENTS_TABLE)
    if blendshapes:
        write_labels(folder, BLENDSHAPES_SCHEMA, blendshapes, BLENDSHAPES_TABLE)
    counts: dict[str, int | float] = {"clips": len(poses), "frames": frames}
    return counts | ({"frames_bridged": bridged} if bridged else {})


def _build(run: StepRun[PoseLabelSettings]) -> BuildReport:
    return make_pose_labels(run.upstream["clips"], run.settings, run.folder, run.weights)


STEP: Final = Step(
    name="pose_labels",
    upstream=("clips",),
    settings=PoseLabelSettings,
    code_version="1",
    build=_build,
    description="Head pitch, yaw, roll and position of every frame, in the crop camera's frame of reference.",
    group="labels",
    kinds=frozenset({"numpy", "parquet"}),
    columns=POSE_SCHEMA,
)
