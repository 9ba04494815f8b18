"""Following by blendshapes on values computed by hand, and without weights."""

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.controls import CONTROLS, Control
from evaluation.generation.reenactment import Reenactment, ReenactmentPlan
from evaluation.metrics.control.following import BLENDSHAPE_METRICS, ControlReference
from evaluation.metrics.control.series import STILL_BELOW
from evaluation.metrics.metric import Measurement, load_metrics
from evaluation.readings.blendshapes import BLENDSHAPE_MEASURES, BlendshapeReadings
from evaluation.readings.face import SCORER
from evaluation.readings.measures import ALL_MEASURES
from evaluation.readings.videos import VideoReadings, cut
from evaluation.records import COPY_PORTRAIT, COPY_TARGET, GROUND_TRUTH, MODEL
from evaluation.report.matrix import is_matrix_cell
from evaluation.suites.control import ControlTable, add_matrices, add_records
from preprocessing.labellers.face_landmarker import BLENDSHAPES

FRAMES = 40
WAVE = 0.4 + 0.2 * np.sin(2 * np.pi * np.arange(FRAMES) / FRAMES)
OTHER = 0.4 + 0.2 * np.cos(2 * np.pi * np.arange(FRAMES) / FRAMES)  # uncorrelated with WAVE
SCORED = "face_landmarker:01234567"


def read(**shapes: NDArray[np.float64] | float) -> BlendshapeReadings:
    values = np.zeros((FRAMES, len(BLENDSHAPES)), np.float32)
    for name, series in shapes.items():
        values[:, BLENDSHAPES.index(name)] = series
    return BlendshapeReadings(values)


def smiling(series: NDArray[np.float64] | float) -> BlendshapeReadings:
    return read(mouthSmileLeft=series, mouthSmileRight=series)


def measured(
    output: BlendshapeReadings, drivers: dict[Control, BlendshapeReadings]
) -> dict[str, Measurement]:
    reference = ControlReference(drivers)
    functions = {metric.name: metric.measure for metric in BLENDSHAPE_METRICS}
    return {name: function(output, reference) for name, function in functions.items() if function}


def test_measure_averages_both_sides() -> None:
    one_sided = read(mouthSmileLeft=0.8, jawOpen=0.25, browOuterUpRight=0.5, browDownLeft=0.1)
    assert {name: one_sided.measure(name)[0] for name in BLENDSHAPE_MEASURES} == pytest.approx(
        {
            "blendshape_smile": 0.4,
            "blendshape_jaw_open": 0.25,
            "blendshape_brow_raise": 0.25,
            "blendshape_brow_down": 0.05,
        }
    )
    with pytest.raises(ValueError, match="no measure 'smile'"):
        one_sided.measure("smile")


def test_metrics_compare_with_the_driver_of_their_control() -> None:
    values = measured(
        read(mouthSmileLeft=WAVE + 0.3, mouthSmileRight=WAVE + 0.3, jawOpen=WAVE),
        {"expression": smiling(WAVE), "lip": read(jawOpen=1 - WAVE)},
    )
    assert values["blendshape_smile_error"].value == pytest.approx(0.3, abs=1e-6)
    assert values["blendshape_smile_error_mean_removed"].value == pytest.approx(0.0, abs=1e-6)
    assert values["blendshape_smile_correlation"].value == pytest.approx(1.0, abs=1e-6)
    assert values["blendshape_jaw_open_correlation"].value == pytest.approx(-1.0, abs=1e-6)
    assert values["blendshape_brow_raise_correlation"].missing_because == "the driver's does not move"
    assert values["face_found_share"].value == 1.0


def test_metrics_skip_frames_without_a_face() -> None:
    output = smiling(WAVE)
    output.blendshapes[:30] = np.nan
    values = measured(output, {"expression": smiling(WAVE)})
    assert values["face_found_share"].value == pytest.approx(0.25)
    assert values["blendshape_smile_error"].missing_because == "read in 10 frames of both, need 16"
    assert values["blendshape_jaw_open_error"].missing_because == "no lip driver"
    output.blendshapes[:24] = smiling(WAVE - 0.1).blendshapes[:24]
    assert measured(output, {"expression": smiling(WAVE)})["blendshape_smile_error"].value == pytest.approx(
        0.1 * 24 / 34, abs=1e-6
    )


def videos() -> ReenactmentPlan:
    anna: dict[Control, str] = dict.fromkeys(CONTROLS, "anna")
    crossed: dict[Control, str] = {**dict.fromkeys(CONTROLS, "anna"), "expression": "bela"}
    made = (
        Reenactment("self-00", "self", "anna", 0, anna, FRAMES),
        Reenactment("cross-00", "cross", "anna", 0, crossed, FRAMES),
        Reenactment("control-00-expression", "control", "anna", 0, crossed, FRAMES, "self-00"),
    )
    return ReenactmentPlan("x", 0, "test", "digest", made)


def test_records_and_cells_carry_the_readers_name() -> None:
    clips = {"anna": smiling(WAVE), "bela": smiling(OTHER)}
    made = {one.name: clips[one.drivers["expression"]] for one in videos().reenactments}
    portraits = {one.name: cut(clips["anna"], 1) for one in videos().reenactments}
    readings = VideoReadings(clips=clips, resized=clips, rendered=made, portraits=portraits)
    table = ControlTable()
    add_records(table, videos(), readings, BLENDSHAPE_METRICS, SCORED)
    add_matrices(table, videos(), readings, SCORED)
    assert {row.scorer for row in table.records} == {cell["scorer"] for cell in table.cells} == {SCORED}
    assert SCORED != SCORER
    assert {(row.task, row.method) for row in table.records if row.metric == "blendshape_smile_error"} == {
        *(("self", row) for row in (MODEL, GROUND_TRUTH, COPY_PORTRAIT, COPY_TARGET)),
        *(("cross", row) for row in (MODEL, COPY_PORTRAIT, COPY_TARGET)),
    }
    cells = {
        (cell["protocol"], cell["method"], cell["driver"]): cell
        for cell in table.cells
        if cell["measure"] == "blendshape_smile"
    }
    assert cells["control_change", MODEL, "expression"]["correlation"] == pytest.approx(1.0, abs=1e-6)
    assert cells["control_change", COPY_PORTRAIT, "expression"]["still"] is True
    assert cells["control_follow", MODEL, "lip"]["correlation"] == pytest.approx(0.0, abs=1e-6)
    hidden = [record for record in table.records if is_matrix_cell(record)]
    shown = [record for record in table.records if not is_matrix_cell(record)]
    assert not any(row.metric.startswith("control_change_expression") for row in shown)
    assert any(row.metric == "control_change_expression_blendshape_smile" for row in hidden)


def test_blendshape_metrics_are_missing_without_weights() -> None:
    ready, missing = load_metrics(BLENDSHAPE_METRICS, {"face_landmarker_weights": None})
    assert ready == []
    assert {record.metric for record in missing} == {metric.name for metric in BLENDSHAPE_METRICS}
    assert {(record.method, record.scorer, record.value) for record in missing} == {
        (MODEL, "face_landmarker", None)
    }
    assert all("--face-landmarker-weights" in record.missing_because for record in missing)


def test_every_measure_has_a_still_level() -> None:
    assert set(STILL_BELOW) == set(ALL_MEASURES)
    assert len(ALL_MEASURES) == 9 + len(BLENDSHAPE_MEASURES)
