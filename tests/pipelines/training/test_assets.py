"""What a training's asset shows and checks, and the command line's options."""

import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pipelines.options import options_from
from pipelines.resources import TrainingResource
from pipelines.training.checks import check_beats_chance, check_finite, check_loss_decreased
from pipelines.training.pictures import draw_losses, loss_figure, metric_table
from training.engine.progress import (
    HeldOutMetric,
    LossRecord,
    newest_sample,
    read_held_out_metrics,
    read_losses,
)
from training.jobs.config import TrainingConfig


def record(step: int, total: float, **losses: float) -> LossRecord:
    return LossRecord(step, total, losses, seconds_per_step=0.5, images_per_second=32.0)


def metric(value: float, chance: float | None, *, higher: bool = True, decides: bool = True) -> HeldOutMetric:
    return HeldOutMetric("top-1", value, chance, higher, " %", rows=64, decides=decides)


def test_read_losses_skips_held_out_and_partial_lines(tmp_path: Path) -> None:
    line = {"step": 10, "total": 1.5, "losses": {"pose": 3.0}, "rates": {"model": 1e-3}}
    speed = {"seconds_per_step": 0.5, "images_per_second": 32.0}
    lines = [
        json.dumps(line | speed),
        json.dumps({"step": 10, "held_out": {"error": 4.0}}),
        '{"step": 20, "to',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert read_losses(tmp_path) == [record(10, 1.5, pose=3.0)]


def test_new_run_has_no_losses_and_no_samples(tmp_path: Path) -> None:
    assert read_losses(tmp_path) == []
    assert newest_sample(tmp_path) is None


def test_newest_sample_is_of_the_latest_step(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for step in (900, 1000):
        (tmp_path / "samples" / f"step-{step:08d}.jpg").touch()
    assert newest_sample(tmp_path) == tmp_path / "samples" / "step-00001000.jpg"


def test_loss_decreased_compares_the_first_and_last_tenth() -> None:
    # Of 20 reports a tenth is two: means 9.5 and 2.5.
    falling = [record(step, total) for step, total in enumerate([10.0, 9.0, *[50.0] * 16, 2.0, 3.0])]
    outcome = check_loss_decreased(falling)
    assert outcome.passed
    assert outcome.values == {"first": 9.5, "last": 2.5}
    assert not check_loss_decreased(falling[::-1]).passed
    assert not check_loss_decreased(falling[:1]).passed


def test_check_finite_names_the_steps() -> None:
    assert check_finite([record(10, 1.0, pose=2.0)]).passed
    outcome = check_finite([record(10, 1.0, pose=2.0), record(20, 1.0, pose=math.nan), record(30, math.inf)])
    assert not outcome.passed
    assert outcome.description == "not finite at steps [20, 30]"
    assert not check_finite([]).passed


@pytest.mark.parametrize(
    ("metrics", "passed"),
    [
        ([metric(30.0, 25.0)], True),
        ([metric(25.0, 25.0)], False),
        ([metric(4.0, 6.0, higher=False)], True),
        ([metric(6.5, 6.0, higher=False)], False),
        ([metric(math.nan, 6.0, higher=False)], False),
        ([metric(30.0, 25.0), metric(1.0, 2.0, decides=False), metric(0.1, None)], True),
        ([metric(0.1, None)], False),
    ],
)
def test_check_beats_chance_considers_deciding_metrics(
    tmp_path: Path, metrics: list[HeldOutMetric], passed: bool
) -> None:
    (tmp_path / "held_out_metrics.json").write_text(json.dumps([vars(metric) for metric in metrics]))
    assert check_beats_chance(tmp_path).passed is passed
    assert len(read_held_out_metrics(tmp_path)) == len(metrics)


def test_metric_table_marks_metrics_below_chance() -> None:
    text = str(metric_table([metric(30.0, 25.0), metric(20.0, 25.0)]).value)
    assert text.splitlines()[2:] == [
        "| top-1 | 30 % | 25 % | higher | yes | 64 |",
        "| top-1 | 20 % | 25 % | higher | **no** | 64 |",
    ]


def test_loss_curves_of_a_long_run_are_a_small_png() -> None:
    losses = {f"loss {number}": 1.0 for number in range(7)}
    data = draw_losses([record(step, 1 / (step + 1), **losses) for step in range(5000)])
    assert data.startswith(b"\x89PNG")
    assert len(data) < 150_000
    with pytest.raises(ValueError, match="no loss records"):
        draw_losses([])


def test_panels_of_loss_curves_do_not_overlap() -> None:
    losses = {f"loss {number}": 0.1 for number in range(9)}
    figure = loss_figure([record(step, 5.0 / step, **losses) for step in (10, 20, 30, 40)])
    figure.draw_without_rendering()
    boxes = [box for axes in figure.axes if (box := axes.get_tightbbox()) is not None]
    assert len(boxes) == 10
    assert not [(one, other) for one, other in combinations(boxes, 2) if one.overlaps(other)]


def test_resource_returns_the_config_of_the_form() -> None:
    assert TrainingResource().to_config("a") == TrainingConfig(run="a")
    changed = TrainingResource.model_validate(
        {"preset": "small_gpu", "steps": 7, "advanced": {"decorrelation": False}}
    )
    assert changed.to_config("a") == TrainingConfig(run="a", preset="small_gpu", steps=7, decorrelation=False)


def chosen(*arguments: str) -> Any:
    captured: list[TrainingConfig] = []

    def keep(config: TrainingConfig) -> None:
        captured.append(config)

    result = CliRunner().invoke(click.command()(options_from(TrainingConfig, "config")(keep)), arguments)
    return captured[0] if captured else result.output


def test_every_field_of_the_config_is_an_option() -> None:
    assert chosen() == TrainingConfig()
    assert chosen("--preset", "paper", "--workers", "-1", "--no-decorrelation", "--parents-run", "a") == (
        TrainingConfig(preset="paper", workers=-1, decorrelation=False, parents_run="a")
    )


def test_a_wrong_value_is_a_usage_error() -> None:
    assert "steps must be >= 0, got -1" in chosen("--steps", "-1")
    assert "run must have at least 1 character" in chosen("--run", "")
