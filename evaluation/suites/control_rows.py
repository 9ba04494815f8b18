"""The control evaluation's rows, out of readings. Pure arithmetic: no video is opened here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from evaluation.controls import Control
from evaluation.figures import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL, FigureRow
from evaluation.generation.reenactment import Reenactment, ReenactmentProtocol
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

    rows: list[FigureRow] = field(default_factory=list)
    cells: list[dict[str, str | float | int | None]] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)


def add_rows(
    table: ControlTable,
    protocol: ReenactmentProtocol,
    readings: VideoReadings[FaceReadings],
    truths: Truths | None = None,
) -> None:
    """Following and landmark distance of every self and cross video, in all its rows.

    Args:
        table: Grows.
        protocol: The videos.
        readings: Of them.
        truths: By clip: drivers as they were rendered, in place of their readings.
    """
    for one in (*protocol.of_kind("self"), *protocol.of_kind("cross")):
        drivers = _drivers(one, readings.clips if truths is None else truths)
        for row, output in _outputs(one, readings).items():
            names = {"protocol": one.protocol, "row": row, "video": one.name}
            scorer = SCORER if truths is None else AGAINST_TRUTH
            table.rows += following_rows(output, drivers, **names, scorer=scorer)
            if one.protocol == "self" and truths is None:
                true = cut(readings.clips[one.portrait], one.frames)
                table.rows += landmark_distance_rows(output, true, **names)


def add_blendshape_rows(
    table: ControlTable,
    protocol: ReenactmentProtocol,
    readings: VideoReadings[BlendshapeReadings],
    scorer: str,
) -> None:
    """Following of every self and cross video by blendshapes, in all its rows."""
    for one in (*protocol.of_kind("self"), *protocol.of_kind("cross")):
        drivers = _drivers(one, readings.clips)
        for row, output in _outputs(one, readings).items():
            table.rows += blendshape_rows(
                output, drivers, protocol=one.protocol, row=row, video=one.name, scorer=scorer
            )


def add_follow(
    table: ControlTable,
    protocol: ReenactmentProtocol,
    readings: VideoReadings[AnyReadings],
    truths: Mapping[str, AnyReadings] | None = None,
    scorer: str = SCORER,
) -> None:
    """The matrix of following over all cross videos, a row each for the model and the baselines."""
    videos: dict[str, list[FollowedVideo[AnyReadings]]] = {}
    for one in protocol.of_kind("cross"):
        drivers = _drivers(one, readings.clips if truths is None else truths)
        for row, output in _outputs(one, readings).items():
            videos.setdefault(row, []).append(FollowedVideo(output, drivers, one.name))
    for row, followed in videos.items():
        _add(table, control_follow(followed), "cross", row, scorer if truths is None else AGAINST_TRUTH)


def add_change(
    table: ControlTable,
    protocol: ReenactmentProtocol,
    readings: VideoReadings[AnyReadings],
    truths: Mapping[str, AnyReadings] | None = None,
    scorer: str = SCORER,
) -> None:
    """The matrix of changes over all control videos, a row each for the model and the baselines."""
    groups: dict[str, list[Reenactment]] = {}
    for one in protocol.of_kind("control"):
        assert one.base is not None
        groups.setdefault(one.base, []).append(one)
    for row in (MODEL, COPY_PORTRAIT, COPY_TARGET):
        pairs = [
            _pair(protocol.named(base), changed, readings, truths, row) for base, changed in groups.items()
        ]
        if pairs:
            _add(table, control_change(pairs), "control", row, scorer if truths is None else AGAINST_TRUTH)


def add_matrix(table: ControlTable, matrix: ControlMatrix, row: str, scorer: str = SCORER) -> None:
    """A matrix in the long form, and its score."""
    for cell in matrix.cells:
        table.cells.append(
            {
                "row": row,
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
        table.scores[" ".join([matrix.metric, row, *([] if scorer == SCORER else [scorer])])] = matrix.score


def _add(table: ControlTable, matrix: ControlMatrix, protocol: str, row: str, scorer: str) -> None:
    table.rows += matrix.rows(protocol=protocol, row=row, scorer=scorer)
    add_matrix(table, matrix, row, scorer)


def _drivers(one: Reenactment, source: Mapping[str, AnyReadings]) -> dict[Control, AnyReadings]:
    return {control: cut(source[key], one.frames) for control, key in one.drivers.items()}


def _outputs(one: Reenactment, readings: VideoReadings[AnyReadings]) -> dict[str, AnyReadings]:
    """A video's readings by row; a cross video has no truth."""
    outputs = {MODEL: readings.made[one.name]}
    if one.protocol == "self":
        outputs[GROUND_TRUTH] = cut(readings.shown[one.portrait], one.frames)
    outputs[COPY_PORTRAIT] = readings.still(one)
    outputs[COPY_TARGET] = cut(readings.shown[one.drivers["pose"]], one.frames)
    return outputs


def _pair(
    base: Reenactment,
    changed: Sequence[Reenactment],
    readings: VideoReadings[AnyReadings],
    truths: Mapping[str, AnyReadings] | None,
    row: str,
) -> ControlPair:
    source = readings.clips if truths is None else truths
    other = changed[0].drivers[changed[0].changed()]
    return ControlPair(
        base=_outputs(base, readings)[row],
        source=source[other],
        own=source[base.portrait],
        changed={one.changed(): _outputs(one, readings)[row] for one in changed},
        name=changed[0].name.rsplit("-", 1)[0],
    )
