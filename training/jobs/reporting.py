"""How a running stage tells what it does: to a terminal here, through Dagster Pipes in `pipelines`.

Imports no torch.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO, runtime_checkable

from typing_extensions import override


@dataclass(frozen=True)
class Progress:
    """Where a stage is."""

    stage: str
    step: int  # steps done
    steps: int
    losses: Mapping[str, float]  # unweighted means since the last report
    seconds_per_step: float
    seconds_left: float
    images_per_second: float  # of all processes together

    def line(self) -> str:
        """One line for a person."""
        losses = "  ".join(f"{name} {value:.4g}" for name, value in self.losses.items())
        return (
            f"{self.stage} {self.step}/{self.steps}  {losses}  "
            f"{self.images_per_second:.1f} img/s  {time_left(self.seconds_left)} left"
        )


@runtime_checkable
class FigureLike(Protocol):
    """A held-out figure, as `training.stages.stage.Figure`, which needs torch to be imported."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def value(self) -> float: ...  # noqa: D102

    @property
    def chance(self) -> float | None: ...  # noqa: D102

    @property
    def unit(self) -> str: ...  # noqa: D102


@runtime_checkable
class Reporter(Protocol):
    """Whoever listens. Called by rank 0 alone."""

    def note(self, text: str) -> None:
        """Something worth a line: started, resumed, saved."""

    def progress(self, progress: Progress) -> None:
        """Where the stage is, every few steps."""

    def picture(self, step: int, jpeg: bytes) -> None:
        """A sample grid."""

    def figures(self, step: int, figures: Sequence[FigureLike]) -> None:
        """Held-out figures."""


class TextReporter(Reporter):
    """Lines on a stream; pictures lie in the run's folder."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    @override
    def note(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()

    @override
    def progress(self, progress: Progress) -> None:
        self.note(progress.line())

    @override
    def picture(self, step: int, jpeg: bytes) -> None:
        del step, jpeg

    @override
    def figures(self, step: int, figures: Sequence[FigureLike]) -> None:
        for figure in figures:
            chance = "" if figure.chance is None else f" (chance {figure.chance:.4g})"
            self.note(f"  step {step}: {figure.name} {figure.value:.4g}{figure.unit}{chance}")


def time_left(seconds: float) -> str:
    """Hours, minutes and seconds, as short as can be."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
