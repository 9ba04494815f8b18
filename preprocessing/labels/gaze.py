"""The step `gaze_labels`: gaze and blink of every frame of a batch's clips.

Blink is measured from the lids against a person's own openness levels, which come from all of the person's
clips in the batch. Gaze comes from the selected backend. The irises' gaze is measured in any case: it says in
which frames the eyes are open, and the step `eye_anchors` compares it with the irises of its composites.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from preprocessing.clips.store import read_clips
from preprocessing.labellers import blink_lids, gaze_iris, gaze_l2cs
from preprocessing.labellers.backend import (
    Backend,
    BackendSettings,
    ClipLabeller,
    label_clips,
    write_labellers,
)
from preprocessing.labellers.blink_lids import OpennessLevels
from preprocessing.labellers.failed_clips import FailedClips, read_failed
from preprocessing.labellers.gaze_iris import GazeClip
from preprocessing.labels.tables import GAZE_SCHEMA, IRIS_SCHEMA, POSE_NAMES, read_labels, write_labels
from preprocessing.orchestration.step import Step, StepRun
from storage.publishing import BuildReport
from weights.resolve import ResolvedWeights

BLINK_LABELLER: Final = f"{blink_lids.NAME} {blink_lids.VERSION}"
LEVELS_NAME: Final = "openness_levels.json"
IRIS_TABLE: Final = "iris_gaze.parquet"

BACKENDS: Final[Mapping[str, Backend[ClipLabeller[GazeClip, Any, NDArray[np.float32]]]]] = {
    "iris": gaze_iris.BACKEND,
    "l2cs": gaze_l2cs.BACKEND,
}
"""Gaze [T, 2] (pitch, yaw rad) in head coordinates."""


class GazeLabelSettings(BackendSettings):
    """How gaze and blink are labelled."""

    backends: ClassVar = BACKENDS

    backend: str = Field(default="iris", description="Gaze labeller", json_schema_extra={"enum": [*BACKENDS]})
    iris: gaze_iris.GazeSettings = gaze_iris.GazeSettings()
    blink: blink_lids.BlinkSettings = blink_lids.BlinkSettings()


def make_gaze_labels(
    clips: Path,
    pose_labels: Path,
    settings: GazeLabelSettings,
    folder: Path,
    weights: ResolvedWeights | None = None,
) -> BuildReport:
    """Label gaze and blink.

    Args:
        clips: folder of the step `clips`.
        pose_labels: folder of the step `pose_labels`: gaze is in head coordinates.
        settings: of the step.
        folder: where the label table (`tables.GAZE_SCHEMA`), the irises' gaze and the persons' openness
            levels are written.
        weights: of the backend, where it needs any.

    Raises:
        FileNotFoundError: the weights do not exist.
        ValueError: the backend needs weights and got none, or the file is not what it runs.
    """
    poses = read_labels(pose_labels, POSE_NAMES)
    backend = BACKENDS[settings.backend]
    labels: dict[str, dict[str, NDArray[Any]]] = {}
    iris: dict[str, dict[str, NDArray[Any]]] = {}
    with closing(backend.open(settings, weights and weights.path)) as labeller:
        failed = FailedClips("Labelling the gaze")
        failed.skip(read_failed(pose_labels))
        levels, blinks = _label_blinks(clips, settings.blink, failed)
        items = _gaze_clips(clips, poses, blinks, settings.iris, failed)
        for item, gaze in label_clips(items, labeller, lambda item, error: failed.add(item.clip.key, error)):
            key, blink = item.clip.key, blinks[item.clip.key]
            iris[key] = _gaze_columns(item.iris.gaze)
            labels[key] = _gaze_columns(gaze) | {
                "blink_left": blink[:, 0],
                "blink_right": blink[:, 1],
                "valid": item.iris.valid,
            }
    _write_levels(folder, levels)
    write_labels(folder, IRIS_SCHEMA, iris, IRIS_TABLE)
    write_labels(folder, GAZE_SCHEMA, labels)
    labellers = {"gaze": backend.labeller_name(weights), "blink": BLINK_LABELLER}
    write_labellers(folder, labellers, weights)
    frames = sum(len(blink) for blink in blinks.values())
    bridged = sum(int((~columns["valid"]).sum()) for columns in labels.values())
    counts = {"clips": len(labels), "frames": frames, "frames_bridged": bridged, "persons": len(levels)}
    return BuildReport(counts=counts, refusals=failed.finish(folder, len(labels)))


def read_iris_gaze(folder: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
    """As `tables.read_labels`, of the irises' gaze, whatever the backend."""
    return read_labels(folder, names, IRIS_TABLE)


def _label_blinks(
    clips: Path, settings: blink_lids.BlinkSettings, failed: FailedClips
) -> tuple[dict[str, OpennessLevels], dict[str, NDArray[np.float32]]]:
    """Openness levels by identity, and blinks [T, 2] by clip key."""
    openness: dict[str, dict[str, NDArray[np.float32]]] = {}
    for clip in read_clips(clips):
        with failed.caught(clip.key):
            measured = blink_lids.measure_openness(clip.landmarks_px)
            openness.setdefault(clip.identity, {})[clip.key] = measured
    levels = {
        identity: blink_lids.person_openness_levels(list(of_clips.values()), settings)
        for identity, of_clips in openness.items()
    }
    blinks = {
        key: blink_lids.blink_from_openness(values, levels[identity])
        for identity, of_clips in openness.items()
        for key, values in of_clips.items()
    }
    return levels, blinks


def _gaze_clips(
    clips: Path,
    poses: Mapping[str, NDArray[np.float32]],
    blinks: Mapping[str, NDArray[np.float32]],
    settings: gaze_iris.GazeSettings,
    failed: FailedClips,
) -> Iterator[GazeClip]:
    for clip in read_clips(clips):
        if clip.key in failed:
            continue
        pose = poses[clip.key]
        with failed.caught(clip.key):
            gaze = gaze_iris.label_gaze(clip.landmarks_px, pose, blinks[clip.key], settings)
        if clip.key not in failed:
            yield GazeClip(clip, pose, gaze, settings.reach_rad)


def _gaze_columns(gaze: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    return {"pitch_rad": gaze[:, 0], "yaw_rad": gaze[:, 1]}


def _write_levels(folder: Path, levels: Mapping[str, OpennessLevels]) -> None:
    value = {name: {"open": list(level.open), "shut": list(level.shut)} for name, level in levels.items()}
    (folder / LEVELS_NAME).write_text(json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False))


def read_levels(folder: Path) -> dict[str, OpennessLevels]:
    """Openness levels by identity."""
    value = json.loads((folder / LEVELS_NAME).read_text())
    return {
        name: OpennessLevels(np.array(level["open"]), np.array(level["shut"]))
        for name, level in value.items()
    }


def _build(run: StepRun[GazeLabelSettings]) -> BuildReport:
    return make_gaze_labels(
        run.upstream["clips"], run.upstream["pose_labels"], run.settings, run.folder, run.weights
    )


STEP: Final = Step(
    name="gaze_labels",
    upstream=("clips", "pose_labels"),
    settings=GazeLabelSettings,
    code_version=f"1+{BLINK_LABELLER}+{gaze_iris.NAME} {gaze_iris.VERSION}",
    build=_build,
    description="Gaze in head coordinates, and blink of either eye against the person's own open eye.",
    group="labels",
    kinds=frozenset({"numpy", "parquet"}),
    columns=GAZE_SCHEMA,
)
