"""Checks of the evaluations, and the options of `pdfgc evaluate`."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from evaluation.config import EvaluationConfig
from evaluation.records import COPY_PORTRAIT, MODEL, MetricRecord
from pipelines.cli.options import options_from
from pipelines.evaluation.checks import beats_still_portrait, every_metric_measured, has_figures
from pipelines.resources import EvaluationResource


def figure(method: str, value: float | None, metric: str = "yaw_error") -> MetricRecord:
    because = "" if value is not None else "no face"
    return MetricRecord(metric, "self", method, "mesh", "self-00", value, "degrees", "lower", because)


def test_the_model_must_be_nearer_than_the_still_portrait() -> None:
    look = beats_still_portrait("yaw_error")
    assert look([figure(MODEL, 2.0), figure(COPY_PORTRAIT, 3.0)]).passed
    verdict = look([figure(MODEL, 3.0), figure(COPY_PORTRAIT, 3.0)])
    assert not verdict.passed
    assert verdict.explanation == "yaw_error, model to still portrait: self (mesh) 3 to 3"
    assert look([figure(MODEL, 3.0)]).explanation == "yaw_error: nothing to compare"


def test_a_table_without_a_figure_of_the_model_is_of_no_use() -> None:
    assert has_figures([figure(MODEL, 1.0), figure(MODEL, None, "gaze_error")]).passed
    assert not has_figures([figure(MODEL, None), figure(COPY_PORTRAIT, 1.0)]).passed


def test_a_metric_without_any_figure_is_told_with_its_reason() -> None:
    assert every_metric_measured([figure(MODEL, 1.0), figure(MODEL, None)]).passed
    verdict = every_metric_measured([figure(MODEL, 1.0), figure(MODEL, None, "gaze_error")])
    assert not verdict.passed
    assert verdict.explanation == "gaze_error (self): no face"


def test_the_form_gives_the_config_that_it_shows() -> None:
    assert EvaluationResource().to_config("a") == EvaluationConfig(run="a")
    changed = EvaluationResource.model_validate({"split": "validation", "frames": 10})
    assert changed.to_config("a") == EvaluationConfig(run="a", split="validation", frames=10)


def chosen(*arguments: str) -> Any:
    made: list[EvaluationConfig] = []

    def keep(config: EvaluationConfig) -> None:
        made.append(config)

    result = CliRunner().invoke(click.command()(options_from(EvaluationConfig, "config")(keep)), arguments)
    return made[0] if made else result.output


def test_every_field_of_the_config_is_an_option() -> None:
    assert chosen() == EvaluationConfig()
    assert chosen("--run", "a", "--split", "train", "--control-bases", "0", "--csim-weights", "w.onnx") == (
        EvaluationConfig(run="a", split="train", control_bases=0, csim_weights="w.onnx")
    )
    assert "frames must be <= 64, got 65" in chosen("--frames", "65")
    with pytest.raises(ValueError, match="frames must be >= 1, got 0"):
        EvaluationConfig(frames=0)
