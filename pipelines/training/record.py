"""What a training run has written so far: its metrics, its held-out figures, its sample grids.

Read while the run goes on and after it. Imports no torch.
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
    """Means since the report before."""

    step: int
    total: float  # weighted sum
    losses: dict[str, float]  # unweighted
    seconds_per_step: float
    images_per_second: float

    @property
    def is_finite(self) -> bool:
        """Whether every loss is a number."""
        return all(map(math.isfinite, (self.total, *self.losses.values())))


@dataclass(frozen=True)
class HeldOutFigure:
    """As `training.stages.stage.Figure`, which needs torch to be imported."""

    name: str
    value: float
    chance: float | None
    higher_is_better: bool
    unit: str
    rows: int
    decides: bool

    @property
    def beats_chance(self) -> bool | None:
        """Whether it is better than chance; None where there is none. A NaN is not."""
        if self.chance is None:
            return None
        return self.value > self.chance if self.higher_is_better else self.value < self.chance


def read_losses(folder: Path) -> list[LossRecord]:
    """The reports of a run in the order of steps; a line that is still being written is left out."""
    try:
        text = (folder / METRICS_NAME).read_text("utf-8")
    except FileNotFoundError:
        return []
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.split("\n")[:-1]]
    names = ("step", "total", "losses", "seconds_per_step", "images_per_second")
    return [LossRecord(**{name: line[name] for name in names}) for line in lines if "losses" in line]


def read_figures(folder: Path) -> list[HeldOutFigure]:
    """The held-out figures at the end of a run.

    Raises:
        FileNotFoundError: the run has not come to its end.
    """
    return [HeldOutFigure(**figure) for figure in json.loads((folder / FIGURES_NAME).read_text("utf-8"))]


def newest_sample(folder: Path) -> Path | None:
    """The sample grid of the latest step; None where there is none yet."""
    return max((folder / SAMPLES_FOLDER).glob("step-*.jpg"), default=None)
