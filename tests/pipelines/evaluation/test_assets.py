"""Checks of the evaluations, and the options of `pdfgc evaluate`."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from evaluation.config import EvaluationConfig
from evaluation.records import COPY_PORTRAIT, MODEL, MetricRecord
from pipelines.evaluation.checks import (
    beats_static_portrait,
    check_every_metric_measured,
    check_has_values,
)
from pipelines.options import options_from
from pipelines.resources import EvaluationResource


def record(method: str, value: float | None, metric: str = "yaw_error") -> MetricRecord:
    because = "" if value is not None else "no face"
    return MetricRecord(metric, "self", method, "mesh", "self-00", value, "degrees", "lower", because)


def test_beats_static_portrait_compares_the_means() -> None:
    check = beats_static_portrait("yaw_error")
    assert check([record(MODEL, 2.0), record(COPY_PORTRAIT, 3.0)]).passed
    outcome = check([record(MODEL, 3.0), record(COPY_PORTRAIT, 3.0)])
    assert not outcome.passed
    assert outcome.description == "yaw_error, model vs. static portrait: self (mesh) 3 vs. 3"
    assert check([record(MODEL, 3.0)]).description == "yaw_error: nothing to compare"


def test_has_values_fails_without_a_value_of_the_model() -> None:
    assert check_has_values([record(MODEL, 1.0), record(MODEL, None, "gaze_error")]).passed
    assert not check_has_values([record(MODEL, None), record(COPY_PORTRAIT, 1.0)]).passed


def test_every_metric_measured_names_the_reason() -> None:
    assert check_every_metric_measured([record(MODEL, 1.0), record(MODEL, None)]).passed
    outcome = check_every_metric_measured([record(MODEL, 1.0), record(MODEL, None, "gaze_error")])
    assert not outcome.passed
    assert outcome.description == "gaze_error (self): no face"


def test_resource_returns_the_config_of_the_form() -> None:
    assert EvaluationResource().to_config("a") == EvaluationConfig(run="a")
    changed = EvaluationResource.model_validate({"split": "validation", "frames": 10})
    assert changed.to_config("a") == EvaluationConfig(run="a", split="validation", frames=10)


def chosen(*arguments: str) -> Any:
    captured: list[EvaluationConfig] = []

    def keep(config: EvaluationConfig) -> None:
        captured.append(config)

    result = CliRunner().invoke(click.command()(options_from(EvaluationConfig, "config")(keep)), arguments)
    return captured[0] if captured else result.output


def test_every_field_of_the_config_is_an_option() -> None:
    assert chosen() == EvaluationConfig()
    assert chosen("--run", "a", "--split", "train", "--control-bases", "0", "--csim-weights", "w.onnx") == (
        EvaluationConfig(run="a", split="train", control_bases=0, csim_weights="w.onnx")
    )
    assert "frames must be <= 64, got 65" in chosen("--frames", "65")
    with pytest.raises(ValueError, match="frames must be >= 1, got 0"):
        EvaluationConfig(frames=0)
