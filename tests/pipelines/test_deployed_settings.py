"""Settings of a deployment, from environment variables."""

from typing import Any

import click
import pytest
from click.testing import CliRunner
from pydantic.fields import FieldInfo

from pipelines.deployed_settings import SECTIONS, deployed, setting_rows
from pipelines.forms import config_class
from pipelines.operations.settings import OperationsSettings
from pipelines.options import options_from
from preprocessing.orchestration.steps import PreprocessingSettings
from storage.settings import Settings, bounds_text, nested_class
from training.jobs.config import TrainingConfig

FACE = "PDFGC__PREPROCESSING__CLIPS__MINIMUM_FACE_SIZE_PX"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in setting_rows():
        monkeypatch.delenv(row.variable, raising=False)


def test_deployed_settings_are_the_defaults() -> None:
    for kind in SECTIONS:
        assert deployed(kind) == kind()


def test_variable_changes_one_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FACE, "48")
    settings = deployed(PreprocessingSettings)
    assert settings.clips.minimum_face_size_px == 48.0
    assert settings.face_tracks == PreprocessingSettings().face_tracks
    assert deployed(TrainingConfig) == TrainingConfig()


def test_variable_changes_the_default_of_form_and_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDFGC__TRAINING__STEPS", "48")
    monkeypatch.setenv(FACE, "48")
    assert config_class(TrainingConfig)().to_settings() == TrainingConfig(steps=48)
    assert config_class(PreprocessingSettings)().to_settings().clips.minimum_face_size_px == 48.0
    assert from_options("--seed", "2") == TrainingConfig(steps=48, seed=2)


def test_unknown_variable_is_refused_with_similar_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FACE.removesuffix("_PX"), "48")
    with pytest.raises(ValueError, match=r"MINIMUM_FACE_SIZE is not a setting; did you mean \S+SIZE_PX"):
        deployed(TrainingConfig)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PDFGC__TRAINING__STEPS", "many", "PDFGC__TRAINING__STEPS must be a valid integer, got 'many'"),
        (
            "PDFGC__TRAINING__PRESET",
            "huge",
            "PRESET must be 'tiny_cpu', 'starter', 'small_gpu' or 'paper', got 'huge'",
        ),
        ("PDFGC__OPERATIONS__RETRAIN_SHARE", "2.5", "RETRAIN_SHARE must be <= 1, got 2.5"),
        ("PDFGC__PREPROCESSING__EYE_ANCHORS__MAXIMUM_BLINK_ERROR", "0.4", "EYE_ANCHORS: .* and 0.4"),
    ],
)
def test_refused_value_names_variable_value_and_bounds(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=message):
        setting_rows()


def from_options(*arguments: str) -> Any:
    results: list[TrainingConfig] = []

    def keep(config: TrainingConfig) -> None:
        results.append(config)

    result = CliRunner().invoke(click.command()(options_from(TrainingConfig, "config")(keep)), arguments)
    return results[0] if results else result.output


def test_form_environment_and_option_refuse_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"^steps must be >= 0, got -3$"):
        TrainingConfig(steps=-3)
    with pytest.raises(ValueError, match=r"^steps must be >= 0, got -3$"):
        config_class(TrainingConfig).model_validate({"steps": -3}).to_settings()
    assert "Error: steps must be >= 0, got -3\n" in from_options("--steps", "-3")
    monkeypatch.setenv("PDFGC__TRAINING__STEPS", "-3")
    with pytest.raises(ValueError, match=r"^PDFGC__TRAINING__STEPS must be >= 0, got -3$"):
        deployed(TrainingConfig)


def _leaves(kind: type[Settings]) -> list[tuple[str, FieldInfo]]:
    leaves: list[tuple[str, FieldInfo]] = []
    for name, info in kind.model_fields.items():
        nested = nested_class(info)
        leaves += _leaves(nested) if nested else [(f"{kind.__name__}.{name}", info)]
    return leaves


def test_every_setting_is_described_and_every_number_bounded() -> None:
    leaves = [leaf for kind in SECTIONS for leaf in _leaves(kind)]
    assert [name for name, info in leaves if not info.description] == []
    numbers = [(name, info) for name, info in leaves if isinstance(info.default, (int, float))]
    unbounded = [name for name, info in numbers if not bounds_text(info)]
    assert [name for name, info in numbers if name in unbounded and info.annotation is not bool] == []


def test_setting_rows_hold_value_default_and_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDFGC__OPERATIONS__RETRAIN_SHARE", "0.3")
    (row,) = [row for row in setting_rows() if row.variable == "PDFGC__OPERATIONS__RETRAIN_SHARE"]
    assert (row.value, row.default, row.bounds) == (0.3, OperationsSettings().retrain_share, "0 to 1")
