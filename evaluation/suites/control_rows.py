"""The control evaluation's rows, out of readings. Pure arithmetic: no video is opened here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from evaluation.controls import Control
from evaluation.generation.reenactment import Reenactment, ReenactmentPlan
from evaluation.metrics.control.blendshape_following import blendshape_rows
from evaluation.metrics.control.control_matrix import (
    ControlMatrix,
    ControlPair,
    FollowedVideo,
    control_change,
    control_follow,
)
from evaluation.metrics.control.following_error import following_rows
from evaluation.metrics.control.landmark_distance import landmark_distance_rows
from evaluation.readings.blendshapes import BlendshapeReadings
from evaluation.readings.demo_truth import SCORER as TRUTH
from evaluation.readings.face import SCORER, FaceReadings
from evaluation.readings.protocol import AnyReadings
from evaluation.readings.videos import VideoReadings, cut
from evaluation.records import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL, MetricRecord

AGAINST_TRUTH: Final = f"{SCORER} against {TRUTH}"
"""Outputs are read as ever, drivers are what the demo corpus was rendered with: gains have no unit there."""
Truths = Mapping[str, FaceReadings]


@dataclass
class ControlTable:
    """What is gathered.

    Attributes:
        rows: Figures.
        cells: Of matrices, in the long form of `control_matrix.parquet`.
        scores: Each matrix's one number, by its name.
    """

    rows: list[MetricRecord] = field(default_factory=list)
    cells: list[dict[str, str | float | int | None]] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)


def add_rows(
    table: ControlTable,
    plan: ReenactmentPlan,
    readings: VideoReadings[FaceReadings],
    truths: Truths | None = None,
) -> None:
    """Following and landmark distance of every self and cross video, in all its rows.

    Args:
        table: Grows.
        plan: The videos.
        readings: Of them.
        truths: By clip: drivers as they were rendered, in place of their readings.
    """
    for one in (*plan.of_task("self"), *plan.of_task("cross")):
        drivers = _drivers(one, readings.clips if truths is None else truths)
        for method, output in _outputs(one, readings).items():
            names = {"task": one.task, "method": method, "video": one.name}
            scorer = SCORER if truths is None else AGAINST_TRUTH
            table.rows += following_rows(output, drivers, **names, scorer=scorer)
            if one.task == "self" and truths is None:
                true = cut(readings.clips[one.portrait], one.frames)
                table.rows += landmark_distance_rows(output, true, **names)


def add_blendshape_rows(
    table: ControlTable,
    plan: ReenactmentPlan,
    readings: VideoReadings[BlendshapeReadings],
    scorer: str,
) -> None:
    """Following of every self and cross video by blendshapes, in all its rows."""
    for one in (*plan.of_task("self"), *plan.of_task("cross")):
        drivers = _drivers(one, readings.clips)
        for method, output in _outputs(one, readings).items():
            table.rows += blendshape_rows(
                output, drivers, task=one.task, method=method, video=one.name, scorer=scorer
            )


def add_follow(
    table: ControlTable,
    plan: ReenactmentPlan,
    readings: VideoReadings[AnyReadings],
    truths: Mapping[str, AnyReadings] | None = None,
    scorer: str = SCORER,
) -> None:
    """The matrix of following over all cross videos, a row each for the model and the baselines."""
    videos: dict[str, list[FollowedVideo[AnyReadings]]] = {}
    for one in plan.of_task("cross"):
        drivers = _drivers(one, readings.clips if truths is None else truths)
        for method, output in _outputs(one, readings).items():
            videos.setdefault(method, []).append(FollowedVideo(output, drivers, one.name))
    for method, followed in videos.items():
        _add(table, control_follow(followed), "cross", method, scorer if truths is None else AGAINST_TRUTH)


def add_change(
    table: ControlTable,
    plan: ReenactmentPlan,
    readings: VideoReadings[AnyReadings],
    truths: Mapping[str, AnyReadings] | None = None,
    scorer: str = SCORER,
) -> None:
    """The matrix of changes over all control videos, a row each for the model and the baselines."""
    groups: dict[str, list[Reenactment]] = {}
    for one in plan.of_task("control"):
        assert one.base is not None
        groups.setdefault(one.base, []).append(one)
    for method in (MODEL, COPY_PORTRAIT, COPY_TARGET):
        pairs = [
            _pair(plan.named(base), changed, readings, truths, method) for base, changed in groups.items()
        ]
        if pairs:
            _add(table, control_change(pairs), "control", method, scorer if truths is None else AGAINST_TRUTH)


def add_matrix(table: ControlTable, matrix: ControlMatrix, method: str, scorer: str = SCORER) -> None:
    """A matrix in the long form, and its score."""
    for cell in matrix.cells:
        table.cells.append(
            {
                "method": method,
                "scorer": scorer,
                "protocol": matrix.metric,
                "driver": cell.control,
                "measure": cell.measure,
                "correlation": cell.pooled.correlation,
                "gain": cell.pooled.gain,
                "still": cell.pooled.still,
                "pairs": sum(pair.correlation is not None for pair in cell.pairs.values()),
            }
        )
    if matrix.score is not None:
        table.scores[" ".join([matrix.metric, method, *([] if scorer == SCORER else [scorer])])] = (
            matrix.score
        )


def _add(table: ControlTable, matrix: ControlMatrix, task: str, method: str, scorer: str) -> None:
    table.rows += matrix.rows(task=task, method=method, scorer=scorer)
    add_matrix(table, matrix, method, scorer)


def _drivers(one: Reenactment, source: Mapping[str, AnyReadings]) -> dict[Control, AnyReadings]:
    return {control: cut(source[key], one.frames) for control, key in one.drivers.items()}


def _outputs(one: Reenactment, readings: VideoReadings[AnyReadings]) -> dict[str, AnyReadings]:
    """A video's readings by row; a cross video has no truth."""
    outputs = {MODEL: readings.made[one.name]}
    if one.task == "self":
        outputs[GROUND_TRUTH] = cut(readings.shown[one.portrait], one.frames)
    outputs[COPY_PORTRAIT] = readings.still(one)
    outputs[COPY_TARGET] = cut(readings.shown[one.drivers["pose"]], one.frames)
    return outputs


def _pair(
    base: Reenactment,
    changed: Sequence[Reenactment],
    readings: VideoReadings[AnyReadings],
    truths: Mapping[str, AnyReadings] | None,
    method: str,
) -> ControlPair:
    source = readings.clips if truths is None else truths
    other = changed[0].drivers[changed[0].changed()]
    return ControlPair(
        base=_outputs(base, readings)[method],
        source=source[other],
        own=source[base.portrait],
        changed={one.changed(): _outputs(one, readings)[method] for one in changed},
        name=changed[0].name.rsplit("-", 1)[0],
    )
