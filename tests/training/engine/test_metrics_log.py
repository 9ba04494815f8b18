from pathlib import Path

import pyarrow.parquet as pq

from training.engine.metrics_log import METRICS_NAME, TABLE_NAME, MetricsLog, read_metrics
from training.jobs.reporting import Progress
from training.stages.stage import Figure

RATES = {"model": 1e-4}


def progress(step: int) -> Progress:
    return Progress("stage", step, 10, {"vgg": step / 2}, 0.5, 2.0, 40.0)


def tell(log: MetricsLog, *steps: int) -> None:
    for step in steps:
        log.progress(progress(step), total=step * 3.0, rates=RATES)


def figure(value: float) -> Figure:
    return Figure("PSNR", value, 10.0, higher_is_better=True, unit=" dB")


def test_a_line_tells_losses_total_rates_and_speed(tmp_path: Path) -> None:
    tell(MetricsLog(tmp_path, 0), 4)
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


def test_a_resumed_log_drops_what_is_told_again(tmp_path: Path) -> None:
    tell(MetricsLog(tmp_path, 0), 2, 4, 6)
    log = MetricsLog(tmp_path, 4)
    assert [line["step"] for line in read_metrics(tmp_path / METRICS_NAME)] == [2, 4]
    tell(log, 6)
    assert [line["step"] for line in read_metrics(tmp_path / METRICS_NAME)] == [2, 4, 6]


def test_a_last_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    tell(MetricsLog(tmp_path, 0), 2)
    with (tmp_path / METRICS_NAME).open("a") as file:
        file.write('{"step": 4, "tot')
    assert [line["step"] for line in read_metrics(tmp_path / METRICS_NAME)] == [2]
    tell(MetricsLog(tmp_path, 2), 4)
    assert [line["step"] for line in read_metrics(tmp_path / METRICS_NAME)] == [2, 4]


def test_figures_measured_again_where_a_run_was_resumed_are_told_once(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0)
    log.figures(4, [figure(12.5)])
    log.figures(8, [figure(13.5)])
    log = MetricsLog(tmp_path, 8)
    log.figures(8, [figure(13.5)])
    told = [line["held_out"] for line in read_metrics(tmp_path / METRICS_NAME)]
    assert told == [{"PSNR": 12.5}, {"PSNR": 13.5}]


def test_the_table_has_every_number(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0)
    tell(log, 2)
    log.figures(2, [figure(12.5)])
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


def test_there_are_no_lines_before_the_first(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / METRICS_NAME) == []
