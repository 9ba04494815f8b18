"""Metrics of a run: one JSON line a report, TensorBoard beside it, and a Parquet table at the end."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from torch.utils.tensorboard.writer import SummaryWriter

from storage.atomic import write_atomically
from training.jobs.reporting import FigureLike, Progress

METRICS_NAME: Final = "metrics.jsonl"
TABLE_NAME: Final = "metrics.parquet"
TENSORBOARD_FOLDER: Final = "tensorboard"


class MetricsLog:
    """Appends to a run's metrics; a resumed run first drops what was told of steps that it does again."""

    def __init__(self, folder: Path, resumed_at_step: int) -> None:
        self._file = folder / METRICS_NAME
        self._table = folder / TABLE_NAME
        lines = [line for line in read_metrics(self._file) if line["step"] <= resumed_at_step]
        with write_atomically(self._file) as partial:
            partial.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
        self._measured_at = {line["step"] for line in lines if "held_out" in line}
        self._board = SummaryWriter(str(folder / TENSORBOARD_FOLDER), purge_step=resumed_at_step + 1)

    def progress(self, progress: Progress, *, total: float, rates: Mapping[str, float]) -> None:
        """A report of the loop: mean losses since the last one."""
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

    def figures(self, step: int, figures: Sequence[FigureLike]) -> None:
        """Held-out figures; a run resumed at its last step measures there again, which is told once."""
        if step in self._measured_at:
            return
        self._measured_at.add(step)
        self._append({"step": step, "held_out": {figure.name: figure.value for figure in figures}})
        for figure in figures:
            self._board.add_scalar(f"held out/{figure.name}", figure.value, step)

    def picture(self, step: int, picture: Any) -> None:
        """A sample grid, uint8 [3, H, W]."""
        self._board.add_image("samples", picture, step)

    def close(self) -> None:
        """Write the Parquet table and end TensorBoard's file."""
        rows = [
            {"step": line["step"], "name": f"{kind}/{name}", "value": float(value)}
            for line in read_metrics(self._file)
            for kind, values in _columns(line).items()
            for name, value in values.items()
        ]
        schema = pa.schema([("step", pa.int64()), ("name", pa.string()), ("value", pa.float64())])
        with write_atomically(self._table) as partial:
            pq.write_table(pa.Table.from_pylist(rows, schema), partial)
        self._board.close()

    def _append(self, line: Mapping[str, Any]) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The lines told so far; a last line that a kill cut short is left out."""
    if not file.is_file():
        return []
    lines = file.read_text("utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def _columns(line: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    if "held_out" in line:
        return {"held out": line["held_out"]}
    speed = {name: line[name] for name in ("seconds_per_step", "images_per_second")}
    return {"loss": {"total": line["total"]} | line["losses"], "learning rate": line["rates"], "speed": speed}
