"""What a run reports and leaves: progress, losses, held-out metrics, sample grids. Imports no torch.

Read by the trainer's own log, by Dagster while a run trains, and after it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from storage.atomic import write_atomically

METRICS_NAME: Final = "metrics.jsonl"
HELD_OUT_NAME: Final = "held_out_metrics.json"
SAMPLES_FOLDER: Final = "samples"


@dataclass(frozen=True)
class TrainingProgress:
    """Where a stage is."""

    stage: str
    step: int  # steps done
    steps: int
    losses: Mapping[str, float]  # unweighted means since the last report
    seconds_per_step: float
    seconds_left: float
    images_per_second: float  # of all ranks together

    def line(self) -> str:
        """One log line."""
        losses = "  ".join(f"{name} {value:.4g}" for name, value in self.losses.items())
        return (
            f"{self.stage} {self.step}/{self.steps}  {losses}  "
            f"{self.images_per_second:.1f} img/s  {time_left(self.seconds_left)} left"
        )


@dataclass(frozen=True)
class LossRecord:
    """One report of a run, as its metrics file keeps it: means since the report before."""

    step: int
    total: float  # weighted sum
    losses: dict[str, float]  # unweighted
    seconds_per_step: float
    images_per_second: float

    @property
    def is_finite(self) -> bool:
        """Whether the total and every loss are finite."""
        return all(map(math.isfinite, (self.total, *self.losses.values())))


@dataclass(frozen=True)
class HeldOutMetric:
    """A metric on the validation split, and the chance level that it must beat.

    chance: what guessing, the mean label or copying the input reaches; None where there is no such level.
    """

    name: str
    value: float
    chance: float | None
    higher_is_better: bool
    unit: str = ""
    rows: int = 0  # that it was measured on
    decides: bool = True  # whether the stage's check requires it to beat chance

    @property
    def beats_chance(self) -> bool | None:
        """Whether it is better than chance; None without a chance level. A NaN is not better."""
        if self.chance is None:
            return None
        return self.value > self.chance if self.higher_is_better else self.value < self.chance

    def line(self) -> str:
        """Name, value and chance, for a log line."""
        chance = "" if self.chance is None else f" (chance {self.chance:.4g})"
        return f"{self.name} {self.value:.4g}{self.unit}{chance}"


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that is still being written is left out."""
    if not file.is_file():
        return []
    lines = file.read_text("utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def read_losses(folder: Path) -> list[LossRecord]:
    """The reports of a run, in the order of steps; empty before the first."""
    names = ("step", "total", "losses", "seconds_per_step", "images_per_second")
    lines = read_metrics(folder / METRICS_NAME)
    return [LossRecord(**{name: line[name] for name in names}) for line in lines if "losses" in line]


def write_held_out_metrics(folder: Path, metrics: Sequence[HeldOutMetric]) -> None:
    """Write the metrics at the end of a run."""
    with write_atomically(folder / HELD_OUT_NAME) as partial:
        partial.write_text(json.dumps([asdict(metric) for metric in metrics], indent=1), "utf-8")


def read_held_out_metrics(folder: Path) -> list[HeldOutMetric]:
    """The metrics at the end of a run.

    Raises:
        FileNotFoundError: the run has not ended.
    """
    return [HeldOutMetric(**values) for values in json.loads((folder / HELD_OUT_NAME).read_text("utf-8"))]


def newest_sample(folder: Path) -> Path | None:
    """The sample grid of the latest step; None where there is none yet."""
    return max((folder / SAMPLES_FOLDER).glob("step-*.jpg"), default=None)


def time_left(seconds: float) -> str:
    """``h:mm:ss``, or ``m:ss`` below an hour."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
