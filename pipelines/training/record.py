"""Reads the files of a training stage: losses, held-out metrics, sample grids. Imports no torch.

They can be read while the stage is being trained.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

METRICS_NAME: Final = "metrics.jsonl"
FIGURES_NAME: Final = "figures.json"
SAMPLES_FOLDER: Final = "samples"


@dataclass(frozen=True)
class LossRecord:
    """Means since the previous record."""

    step: int
    total: float  # weighted sum
    losses: dict[str, float]  # unweighted
    seconds_per_step: float
    images_per_second: float

    @property
    def is_finite(self) -> bool:
        """Whether every loss is finite."""
        return all(map(math.isfinite, (self.total, *self.losses.values())))


@dataclass(frozen=True)
class HeldOutMetric:
    """A metric measured on held-out clips at the end of training."""

    name: str
    value: float
    chance: float | None
    higher_is_better: bool
    unit: str
    rows: int
    decides: bool

    @property
    def beats_chance(self) -> bool | None:
        """Whether the value is better than chance; None without a chance level, False for NaN."""
        if self.chance is None:
            return None
        return self.value > self.chance if self.higher_is_better else self.value < self.chance


def read_losses(folder: Path) -> list[LossRecord]:
    """The records in the order of steps, without a line that is still being written."""
    try:
        text = (folder / METRICS_NAME).read_text("utf-8")
    except FileNotFoundError:
        return []
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.split("\n")[:-1]]
    names = ("step", "total", "losses", "seconds_per_step", "images_per_second")
    return [LossRecord(**{name: line[name] for name in names}) for line in lines if "losses" in line]


def read_held_out_metrics(folder: Path) -> list[HeldOutMetric]:
    """The held-out metrics of a finished stage.

    Raises:
        FileNotFoundError: the stage is not finished.
    """
    return [HeldOutMetric(**metric) for metric in json.loads((folder / FIGURES_NAME).read_text("utf-8"))]


def newest_sample(folder: Path) -> Path | None:
    """The sample grid of the latest step; None if there is none."""
    return max((folder / SAMPLES_FOLDER).glob("step-*.jpg"), default=None)
