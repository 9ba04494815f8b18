"""Settings that a deployment puts in the defaults' place."""

from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import pytest

from pipelines.config_form import form_of, settings_from
from pipelines.deployed_settings import SECTIONS, deployed, setting_rows
from pipelines.operations.settings import OperationsSettings
from preprocessing.orchestration.steps import PreprocessingSettings
from training.jobs.config import TrainingChoice

FACE = "PDFGC__PREPROCESSING__CLIPS__MINIMUM_FACE_SIZE_PX"


def test_without_variables_the_defaults_hold() -> None:
    for kind in SECTIONS.values():
        assert deployed(kind, {"PATH": "/bin", "PDFGC_ROOT": "/data"}) == kind()


def test_a_variable_changes_its_setting_and_no_other() -> None:
    settings = deployed(PreprocessingSettings, {FACE: "48"})
    assert settings.clips.minimum_face_size_px == 48.0
    assert settings.face_tracks == PreprocessingSettings().face_tracks
    assert deployed(TrainingChoice, {FACE: "48"}) == TrainingChoice()


def test_the_launchpads_form_begins_with_the_deployments_values() -> None:
    settings = deployed(PreprocessingSettings, {FACE: "48"})
    form = form_of(PreprocessingSettings, deployed=settings)()
    assert settings_from(PreprocessingSettings, form) == settings


def test_a_name_that_is_no_setting_is_told_with_those_near_it() -> None:
    with pytest.raises(ValueError, match=r"MINIMUM_FACE_SIZE names no setting; near it: \S+FACE_SIZE_PX"):
        deployed(TrainingChoice, {FACE.removesuffix("_PX"): "48"})


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("PDFGC__TRAINING__STEPS", "-3", "PDFGC__TRAINING__STEPS is '-3': .* greater than or equal to 0"),
        ("PDFGC__TRAINING__PRESET", "huge", "PRESET is 'huge': .*'tiny_cpu', 'small_gpu' or 'paper'"),
        ("PDFGC__OPERATIONS__RETRAIN_SHARE", "2", "RETRAIN_SHARE is '2': .*less than or equal to 1"),
    ],
)
def test_a_value_out_of_bounds_names_variable_value_and_bounds(
    variable: str, value: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        setting_rows({variable: value})


def test_values_that_do_not_go_together_are_told() -> None:
    variable = "PDFGC__PREPROCESSING__EYE_ANCHORS__MAXIMUM_BLINK_ERROR"
    with pytest.raises(ValueError, match=r"do not go together: .*blink by 0\.4"):
        deployed(PreprocessingSettings, {variable: "0.4"})


def _leaves(kind: type[Any]) -> list[tuple[str, Any, Any]]:
    hints = get_type_hints(kind)
    leaves: list[tuple[str, Any, Any]] = []
    for entry in fields(kind):
        hint = hints[entry.name]
        named = (f"{kind.__name__}.{entry.name}", hint, entry.metadata)
        leaves += _leaves(hint) if is_dataclass(hint) and isinstance(hint, type) else [named]
    return leaves


def test_every_setting_is_described_and_every_number_bounded() -> None:
    leaves = [leaf for kind in SECTIONS.values() for leaf in _leaves(kind)]
    assert [name for name, _, told in leaves if not told.get("description")] == []
    numbers = [(name, told) for name, hint, told in leaves if hint in (int, float)]
    assert [name for name, told in numbers if "minimum" not in told] == []


def test_the_list_shows_value_default_and_bounds() -> None:
    row = next(
        row
        for row in setting_rows({"PDFGC__OPERATIONS__RETRAIN_SHARE": "0.3"})
        if "SHARE" in row.variable and "RETRAIN" in row.variable
    )
    assert (row.value, row.default, row.bounds) == (0.3, OperationsSettings().retrain_share, "0 to 1")
