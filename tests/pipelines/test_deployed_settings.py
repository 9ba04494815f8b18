"""Settings that a deployment puts in the defaults' place."""

import pytest
from pydantic.fields import FieldInfo

from pipelines.config_form import form_of, settings_from
from pipelines.deployed_settings import SECTIONS, deployed, setting_rows
from pipelines.operations.settings import OperationsSettings
from preprocessing.orchestration.steps import PreprocessingSettings
from storage.settings import Settings, bounds_text
from training.jobs.config import TrainingConfig

FACE = "PDFGC__PREPROCESSING__CLIPS__MINIMUM_FACE_SIZE_PX"


def test_without_variables_the_defaults_hold() -> None:
    for kind in SECTIONS.values():
        assert deployed(kind, {"PATH": "/bin", "PDFGC_ROOT": "/data"}) == kind()


def test_a_variable_changes_its_setting_and_no_other() -> None:
    settings = deployed(PreprocessingSettings, {FACE: "48"})
    assert settings.clips.minimum_face_size_px == 48.0
    assert settings.face_tracks == PreprocessingSettings().face_tracks
    assert deployed(TrainingConfig, {FACE: "48"}) == TrainingConfig()


def test_the_launchpads_form_begins_with_the_deployments_values() -> None:
    settings = deployed(PreprocessingSettings, {FACE: "48"})
    form = form_of(PreprocessingSettings, deployed=settings)()
    assert settings_from(PreprocessingSettings, form) == settings


def test_a_name_that_is_no_setting_is_told_with_those_near_it() -> None:
    with pytest.raises(ValueError, match=r"MINIMUM_FACE_SIZE names no setting; near it: \S+FACE_SIZE_PX"):
        deployed(TrainingConfig, {FACE.removesuffix("_PX"): "48"})


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("PDFGC__TRAINING__STEPS", "-3", "PDFGC__TRAINING__STEPS must be >= 0, got '-3'"),
        ("PDFGC__TRAINING__PRESET", "huge", "PRESET must be 'tiny_cpu', 'small_gpu' or 'paper', got 'huge'"),
        ("PDFGC__OPERATIONS__RETRAIN_SHARE", "2", "RETRAIN_SHARE must be <= 1, got '2'"),
    ],
)
def test_a_value_out_of_bounds_names_variable_value_and_bounds(
    variable: str, value: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        setting_rows({variable: value})


def test_values_that_do_not_go_together_are_told() -> None:
    variable = "PDFGC__PREPROCESSING__EYE_ANCHORS__MAXIMUM_BLINK_ERROR"
    with pytest.raises(ValueError, match=r"EYE_ANCHORS: maximum_gaze_error_rad .* got \S+ and 0\.4"):
        deployed(PreprocessingSettings, {variable: "0.4"})


def _leaves(kind: type[Settings]) -> list[tuple[str, FieldInfo]]:
    leaves: list[tuple[str, FieldInfo]] = []
    for name, info in kind.model_fields.items():
        hint = info.annotation
        is_group = isinstance(hint, type) and issubclass(hint, Settings)
        leaves += _leaves(hint) if is_group else [(f"{kind.__name__}.{name}", info)]
    return leaves


def test_every_setting_is_described_and_every_number_bounded() -> None:
    leaves = [leaf for kind in SECTIONS.values() for leaf in _leaves(kind)]
    assert [name for name, info in leaves if not info.description] == []
    numbers = [(name, info) for name, info in leaves if info.annotation in (int, float)]
    assert [name for name, info in numbers if not bounds_text(info)] == []


def test_the_list_shows_value_default_and_bounds() -> None:
    row = next(
        row
        for row in setting_rows({"PDFGC__OPERATIONS__RETRAIN_SHARE": "0.3"})
        if "SHARE" in row.variable and "RETRAIN" in row.variable
    )
    assert (row.value, row.default, row.bounds) == (0.3, OperationsSettings().retrain_share, "0 to 1")
