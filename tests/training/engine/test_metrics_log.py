from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from training.engine.metrics_log import TABLE_NAME, MetricsLog
from training.engine.progress import METRICS_NAME, HeldOutMetric, TrainingProgress, read_metrics

RATES = {"model": 1e-4}


def progress(step: int) -> TrainingProgress:
    return TrainingProgress("stage", step, 10, {"vgg": step / 2}, 0.5, 2.0, 40.0)


def report(log: MetricsLog, *steps: int) -> None:
    for step in steps:
        log.progress(progress(step), total=step * 3.0, rates=RATES)


def metric(value: float) -> HeldOutMetric:
    return HeldOutMetric("PSNR", value, 10.0, higher_is_better=True, unit=" dB")


def test_metrics_log_writes_losses_total_rates_and_speed(tmp_path: Path) -> None:
    report(MetricsLog(tmp_path, 0), 4)
    assert read_metrics(tmp_path / METRICS_NAME) == [
        {
            "step": 4,
            "total": 12.0,
            "losses": {"vgg": 2.0},
            "rates": {"model": 1e-4},
            "seconds_per_step": 0.5,
            "images_per_second": 40.0,
        }
    ]


def test_metrics_log_drops_repeated_steps_on_resume(tmp_path: Path) -> None:
    report(MetricsLog(tmp_path, 0), 2, 4, 6)
    log = MetricsLog(tmp_path, 4)
    assert [line["step"] for line in read_metrics(tmp_path / METRICS_NAME)] == [2, 4]
    report(log, 6)
    assert [line["step"] for line in read_metrics(tmp_path / METRICS_NAME)] == [2, 4, 6]


def test_read_metrics_skips_truncated_last_line(tmp_path: Path) -> None:
    report(MetricsLog(tmp_path, 0), 2)
    with (tmp_path / METRICS_NAME).open("a") as file:
        file.write('{"step": 4, "tot')
    assert [line["step"] for line in read_metrics(tmp_path / METRICS_NAME)] == [2]
    report(MetricsLog(tmp_path, 2), 4)
    assert [line["step"] for line in read_metrics(tmp_path / METRICS_NAME)] == [2, 4]


def test_metrics_log_writes_held_out_metrics_once_per_step(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0)
    log.held_out(4, [metric(12.5)])
    log.held_out(8, [metric(13.5)])
    log = MetricsLog(tmp_path, 8)
    log.held_out(8, [metric(13.5)])
    lines = [line["held_out"] for line in read_metrics(tmp_path / METRICS_NAME)]
    assert lines == [{"PSNR": 12.5}, {"PSNR": 13.5}]


def test_metrics_table_has_every_value(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0)
    report(log, 2)
    log.held_out(2, [metric(12.5)])
    log.close()
    rows = {
        (row["step"], row["name"]): row["value"] for row in pq.read_table(tmp_path / TABLE_NAME).to_pylist()
    }
    assert rows == {
        (2, "loss/total"): 6.0,
        (2, "loss/vgg"): 1.0,
        (2, "learning rate/model"): 1e-4,
        (2, "speed/seconds_per_step"): 0.5,
        (2, "speed/images_per_second"): 40.0,
        (2, "held out/PSNR"): 12.5,
    }
    assert list((tmp_path / "tensorboard").iterdir())


def test_read_metrics_of_missing_file_is_empty(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / METRICS_NAME) == []


def test_sample_grid_is_headed_by_step_and_columns(tmp_path: Path) -> None:
    log, white = MetricsLog(tmp_path, 0), torch.ones(1, 2, 3, 64, 64)
    log.sample_grid(2, white, ("portrait", "generated"))
    log.sample_grid(4, white)
    log.close()
    with_titles, without = (
        np.asarray(Image.open(tmp_path / "samples" / f"step-{step:08d}.jpg").convert("L")) for step in (2, 4)
    )
    assert with_titles.shape == (32 + 64 + 4, 2 * 64 + 6)
    assert [bool((line < 128).any()) for line in (with_titles[:16], without[:16])] == [True, True]
    assert [bool((with_titles[16:32, half] < 160).any()) for half in (slice(0, 66), slice(68, 134))] == [
        True,
        True,
    ]
    assert (without[18:30] > 200).all()
