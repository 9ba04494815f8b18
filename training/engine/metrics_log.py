"""Metrics of a run: a JSON line a report, TensorBoard, sample grids, and a Parquet table at the end."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter
from torchvision.io import encode_jpeg
from torchvision.utils import make_grid

from storage.atomic import write_atomically
from training.engine.progress import (
    METRICS_NAME,
    SAMPLES_FOLDER,
    HeldOutMetric,
    TrainingProgress,
    read_metrics,
)

TABLE_NAME: Final = "metrics.parquet"
TENSORBOARD_FOLDER: Final = "tensorboard"
_GRID_ROWS: Final = 8
_JPEG_QUALITY: Final = 90
_PADDING_PX: Final = 2  # of a grid's images
_HEADING_PX: Final = 16  # height of a line
_FONT_PX: Final = 11


class Meter:
    """Mean losses and speed since the last report. Sums stay on the device until they are reported."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start()

    def _start(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._total = torch.zeros((), device=self._device)
        self._steps = self._images = 0
        self._since = time.monotonic()

    def end_step(self, losses: Mapping[str, Tensor], total: Tensor, images: int) -> None:
        """Add one step."""
        for name, value in losses.items():
            held = self._sums.get(name)
            self._sums[name] = value.detach().float() if held is None else held + value.detach().float()
        self._total = self._total + total
        self._steps += 1
        self._images += images

    def take(self) -> tuple[dict[str, float], float, float, float]:
        """Mean losses, mean total, seconds per step, images per second; then start again from zero."""
        steps = max(1, self._steps)
        losses = {name: float(value) / steps for name, value in self._sums.items()}
        total, seconds = float(self._total) / steps, time.monotonic() - self._since
        images = self._images / seconds
        self._start()
        return losses, total, seconds / steps, images


class MetricsLog:
    """Appends to a run's metrics. A resumed run first drops the lines of the steps that it repeats."""

    def __init__(self, folder: Path, resumed_at_step: int) -> None:
        self._folder = folder
        self._file = folder / METRICS_NAME
        lines = [line for line in read_metrics(self._file) if line["step"] <= resumed_at_step]
        with write_atomically(self._file) as partial:
            partial.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
        self._measured_at = {line["step"] for line in lines if "held_out" in line}
        self._board = SummaryWriter(str(folder / TENSORBOARD_FOLDER), purge_step=resumed_at_step + 1)

    def progress(self, progress: TrainingProgress, *, total: float, rates: Mapping[str, float]) -> None:
        """Mean losses, learning rates and speed since the last report."""
        self._append(
            {
                "step": progress.step,
                "total": total,
                "losses": dict(progress.losses),
                "rates": dict(rates),
                "seconds_per_step": progress.seconds_per_step,
                "images_per_second": progress.images_per_second,
            }
        )
        self._board.add_scalar("loss/total", total, progress.step)
        for name, value in progress.losses.items():
            self._board.add_scalar(f"loss/{name}", value, progress.step)
        for name, value in rates.items():
            self._board.add_scalar(f"learning rate/{name}", value, progress.step)
        self._board.add_scalar("speed/images per second", progress.images_per_second, progress.step)

    def held_out(self, step: int, metrics: Sequence[HeldOutMetric]) -> None:
        """Held-out metrics. A run resumed at its last step measures there again, and is logged once."""
        if step in self._measured_at:
            return
        self._measured_at.add(step)
        self._append({"step": step, "held_out": {metric.name: metric.value for metric in metrics}})
        for metric in metrics:
            self._board.add_scalar(f"held out/{metric.name}", metric.value, step)

    def sample_grid(self, step: int, rows: Tensor, columns: Sequence[str] = ()) -> None:
        """Write a grid of images as JPEG, and to TensorBoard.

        Args:
            step: that it is of.
            rows: [rows, columns, 3, S, S] RGB in [-1, 1]; the first eight rows are shown.
            columns: titles of the columns.
        """
        images = (rows[:_GRID_ROWS].flatten(0, 1).float().cpu() + 1) * 127.5
        grid = (
            make_grid(images, nrow=rows.shape[1], padding=_PADDING_PX).round().clamp(0, 255).to(torch.uint8)
        )
        grid = torch.cat([_heading(step, columns, rows.shape[-1] + _PADDING_PX, grid.shape[2]), grid], dim=1)
        jpeg = encode_jpeg(grid, quality=_JPEG_QUALITY)
        assert isinstance(jpeg, Tensor)
        with write_atomically(self._folder / SAMPLES_FOLDER / f"step-{step:08d}.jpg") as file:
            file.write_bytes(jpeg.numpy().tobytes())
        self._board.add_image("samples", grid, step)

    def close(self) -> None:
        """Write the Parquet table and close TensorBoard's file."""
        rows = [
            {"step": line["step"], "name": f"{kind}/{name}", "value": float(value)}
            for line in read_metrics(self._file)
            for kind, values in _columns(line).items()
            for name, value in values.items()
        ]
        schema = pa.schema([("step", pa.int64()), ("name", pa.string()), ("value", pa.float64())])
        with write_atomically(self._folder / TABLE_NAME) as partial:
            pq.write_table(pa.Table.from_pylist(rows, schema), partial)
        self._board.close()

    def _append(self, line: Mapping[str, Any]) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")


def _heading(step: int, columns: Sequence[str], column_px: int, width_px: int) -> Tensor:
    """Two lines of text, the step and the columns' titles, as a picture [3, height, width] uint8."""
    picture = Image.new("RGB", (width_px, 2 * _HEADING_PX), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(_FONT_PX)
    draw.text((_PADDING_PX, 2), f"step {step:,}", fill="black", font=font)
    for place, title in enumerate(columns):
        draw.text((_PADDING_PX + place * column_px, _HEADING_PX), title, fill="dimgray", font=font)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)


def _columns(line: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    if "held_out" in line:
        return {"held out": line["held_out"]}
    speed = {name: line[name] for name in ("seconds_per_step", "images_per_second")}
    return {"loss": {"total": line["total"]} | line["losses"], "learning rate": line["rates"], "speed": speed}
